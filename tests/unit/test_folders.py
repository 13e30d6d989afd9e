"""Folders in S3, as moto keeps them: whole or not taken for whole, and never anybody else's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from console import UserError, aws, folders
from console.aws import AwsDenied, AwsNotFound, AwsRefused, AwsUnreachable
from console.folders import (
    Address,
    BadAddress,
    FolderChanged,
    FolderNotFound,
    FolderRefused,
    FolderTooLarge,
    fetched,
    sent,
)
from tests.unit.spark_jobs import aws as account
from tests.unit.spark_jobs.aws import BUCKET

WHERE = f"s3://{BUCKET}/views/orders"
PRODUCTS = {"view", "contract.json"}
LAST = "contract.json"


@pytest.fixture
def s3() -> Iterator[Any]:
    with account.running():
        yield boto3.client("s3")


def put(s3: Any, **objects: str) -> None:
    for name, text in objects.items():
        s3.put_object(Bucket=BUCKET, Key=name, Body=text.encode())


def contents(s3: Any) -> dict[str, str]:
    listed = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {entry["Key"]: s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read().decode() for entry in listed}


def files(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


class Spoiled(UserError):
    pass


def test_a_local_folder_is_given_as_it_is(tmp_path: Path) -> None:
    with fetched(str(tmp_path / "a")) as read, sent(str(tmp_path / "b"), PRODUCTS, LAST) as written:
        assert (read, written) == (tmp_path / "a", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_s3_is_copied_and_the_copy_goes_with_the_block(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    objects = {"views/orders/contract.json": "{}", "views/orders/view/part-0.parquet": "rows" * 1000}
    # A neighbour whose name starts alike, and a console's marker of a folder.
    put(s3, **objects, **{"views/orders-2/contract.json": "other", "views/orders/": "", "views/orders/view/": ""})
    with fetched(f"{WHERE}/") as folder:
        assert files(folder) == {name.removeprefix("views/orders/"): text for name, text in objects.items()}
    assert not folder.exists()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"▸ fetch {WHERE}"
    assert said[-1].startswith(f"✓ fetch {WHERE}")
    assert said[-1].endswith("2 objects, 0.0 MB")


def test_an_error_of_the_block_names_the_place_and_not_the_copy(s3: Any) -> None:
    put(s3, **{"views/orders/contract.json": "{}"})
    with pytest.raises(Spoiled) as caught, fetched(WHERE) as folder:
        raise Spoiled(f"{folder}/contract.json is spoiled")
    assert str(caught.value) == f"{WHERE}/contract.json is spoiled"


@pytest.mark.parametrize(
    "where", ["s3://", "s3://bucket", "s3://bucket/", "s3://Bucket!/a", "s3://bucket/a/../b", "s3://bucket/a//b"]
)
def test_an_address_without_bucket_and_prefix_is_refused(where: str) -> None:
    with pytest.raises(BadAddress, match="expected s3://BUCKET/PREFIX"), fetched(where):
        pass
    with pytest.raises(BadAddress), sent(where, PRODUCTS, LAST):
        pass


def test_nothing_under_a_prefix_is_said(s3: Any) -> None:
    with pytest.raises(FolderNotFound, match=f"{WHERE}: no object is there"), fetched(WHERE):
        pass


def test_more_than_there_is_room_for_is_not_fetched(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put(s3, **{"views/orders/a": "x" * 2000, "views/orders/b": "x"})
    with pytest.raises(FolderTooLarge, match=r"has room for 0\.0 MB"), fetched(WHERE, most_bytes=2000):
        pass
    monkeypatch.setattr(folders, "MOST_OBJECTS", 1)
    with pytest.raises(FolderTooLarge, match="more than 1 objects"), fetched(WHERE):
        pass


@pytest.mark.parametrize("name", ["../../escaped", "a/../b", "a//b", "./a"])
def test_an_object_whose_key_leads_out_of_the_folder_is_refused(s3: Any, tmp_path: Path, name: str) -> None:
    put(s3, **{f"views/orders/{name}": "x"})
    with pytest.raises(FolderRefused, match="can't be a file of a folder"), fetched(WHERE):
        pass


def test_an_object_that_is_a_folder_of_others_too_is_refused(s3: Any) -> None:
    put(s3, **{"views/orders/view": "x", "views/orders/view/part": "x"})
    with pytest.raises(FolderRefused, match="'view' is an object and a folder"), fetched(WHERE):
        pass


def test_a_folder_that_is_written_to_meanwhile_is_not_taken(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put(s3, **{"views/orders/contract.json": "old", "views/orders/view/part": "old"})
    download = folders._download

    def meanwhile(*given: Any) -> None:
        download(*given)
        put(s3, **{"views/orders/view/part": "new"})

    monkeypatch.setattr(folders, "_download", meanwhile)
    with pytest.raises(FolderChanged, match="written to while it was read"), fetched(WHERE):
        pass


def test_a_run_is_sent_in_the_place_of_an_earlier_one(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"views/orders-2/view/part-1": "another's"}
    put(s3, **{"views/orders/contract.json": "old", "views/orders/view/part-1": "old"}, **other)
    with sent(WHERE, PRODUCTS, LAST) as folder:
        write(folder, **{"contract.json": "new", "view/part-2": "new"})
    assert contents(s3) == {"views/orders/contract.json": "new", "views/orders/view/part-2": "new", **other}
    assert not folder.exists()
    assert capsys.readouterr().out.splitlines()[-1].endswith("2 objects, 0.0 MB")


def test_a_run_that_fails_leaves_what_is_there(s3: Any) -> None:
    put(s3, **{"views/orders/contract.json": "old", "views/orders/view/part-1": "old"})
    before = contents(s3)

    def spoil(folder: Path) -> None:
        write(folder, **{"contract.json": "new"})
        raise Spoiled(f"{folder}/view is spoiled")

    with pytest.raises(Spoiled, match=f"^{WHERE}/view is spoiled"), sent(WHERE, PRODUCTS, LAST) as folder:
        spoil(folder)
    assert contents(s3) == before


Refuse = Callable[[str, str], None]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Let S3 refuse an action for the keys that end in a text."""

    def refusing(action: str, ending: str) -> None:
        make = aws.client

        def made(*given: Any) -> Any:
            s3 = make(*given)

            def answer(params: dict[str, Any], **_: Any) -> None:
                if params["url_path"].split("?")[0].endswith(ending):
                    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, action)

            s3.meta.events.register(f"before-call.s3.{action}", answer)
            return s3

        monkeypatch.setattr(folders, "client", made)

    return refusing


def test_a_half_sent_run_has_no_contract_and_the_next_one_mends_it(
    s3: Any, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, **{"views/orders/contract.json": "old", "views/orders/view/part-1": "old"})
    refuse("PutObject", "part-2")
    with pytest.raises(AwsDenied, match="can't send view/part-2, access is denied"), sent(WHERE, PRODUCTS, LAST) as out:
        write(out, **{"contract.json": "new", "view/part-2": "new"})
    assert "views/orders/contract.json" not in contents(s3)

    monkeypatch.undo()
    with sent(WHERE, PRODUCTS, LAST) as out:
        write(out, **{"contract.json": "new", "view/part-2": "new"})
    assert contents(s3) == {"views/orders/contract.json": "new", "views/orders/view/part-2": "new"}


def test_an_object_that_no_run_writes_is_never_deleted(s3: Any) -> None:
    put(s3, **{"views/orders/contract.json": "old", "views/orders/notes.txt": "mine"})
    began = False
    with pytest.raises(FolderRefused, match=r"holds 'notes\.txt'"), sent(WHERE, PRODUCTS, LAST):
        began = True
    assert not began
    assert "views/orders/notes.txt" in contents(s3)


def test_a_bucket_that_is_not_there_is_named(s3: Any) -> None:
    with pytest.raises(AwsNotFound, match="s3://nowhere/a: can't list it, it is not there"), fetched("s3://nowhere/a"):
        pass
    with pytest.raises(AwsNotFound), sent("s3://nowhere/a", PRODUCTS, LAST):
        pass


def test_access_that_is_denied_is_said_with_what_to_do(s3: Any, refuse: Refuse) -> None:
    put(s3, **{"views/orders/contract.json": "{}"})
    refuse("HeadObject", "contract.json")
    with (
        pytest.raises(AwsDenied, match=r"can't fetch contract\.json, access is denied .*role's policy"),
        fetched(WHERE),
    ):
        pass


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def change(**values: str | None) -> None:
        for name, value in {**account.SETTINGS, **values}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return change


def test_no_credentials_is_one_line(environment: Callable[..., None]) -> None:
    environment(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    with pytest.raises(AwsDenied, match="no AWS credentials are found: set AWS_PROFILE"), fetched(WHERE):
        pass


def test_an_endpoint_that_does_not_answer_is_one_line(
    environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    make = aws.client
    monkeypatch.setattr(folders, "client", lambda service, where, connections: make(service, where, connections, 1))
    with pytest.raises(AwsUnreachable, match=r"AWS is not reached .*AWS_ENDPOINT_URL"), fetched(WHERE):
        pass


def test_an_endpoint_that_is_no_url_is_one_line(environment: Callable[..., None]) -> None:
    environment(AWS_ENDPOINT_URL="nonsense")
    with pytest.raises(AwsRefused, match="mend AWS's settings"), fetched(WHERE):
        pass


def test_without_boto3_the_extra_to_install_is_named() -> None:
    program = (
        "import sys; sys.modules['boto3'] = None\n"
        "from console import run\nfrom console.folders import fetched\n"
        "def command():\n"
        "    with fetched('s3://bucket/a'): return 0\n"
        "sys.exit(run(command))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr == ("error: s3://bucket/a: boto3 is not installed: pip install 'ml-training-deployment[aws]'\n")


def test_an_address_is_written_as_it_is_understood() -> None:
    assert str(Address.parse("s3://bucket/a/b/")) == "s3://bucket/a/b"
