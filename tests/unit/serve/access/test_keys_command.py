"""``python -m serve keys`` as a user types it, and the page that shows it."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from serve.__main__ import main
from serve.access.authenticator import Authenticator, open_access
from serve.access.keys_command import HEADINGS
from serve.access.settings import AccessSettings
from serve.access.stores import open_store
from serve.caller import Limits
from serve.gateway.errors import Unauthenticated
from tests.documentation import ROOT, examples

Keys = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SERVE_SETTINGS", raising=False)
    (tmp_path / "serve.yaml").write_text("models:\n  parcels: {}\n")
    return tmp_path


@pytest.fixture
def keys(capsys: pytest.CaptureFixture[str]) -> Keys:
    """Run ``keys`` with these arguments and give the lines of its output."""

    def run(*arguments: str) -> list[str]:
        assert main(["keys", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def mistake(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run ``keys`` with these arguments and give the line of its error."""

    def run(*arguments: str) -> str:
        assert main(["keys", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        return captured.err

    return run


def access() -> Authenticator:
    return open_access(AccessSettings())


def bearer(text: str) -> bytes:
    return f"Bearer {text}".encode()


def test_the_last_line_of_create_is_the_key_and_it_works(keys: Keys) -> None:
    *lines, text = keys("create", "reports")
    caller = access().authenticate_now(bearer(text))
    assert caller
    assert (caller.name, caller.models, caller.admin, caller.limits) == ("reports", ("*",), False, None)
    assert "shown this once" in lines[-1]
    assert lines[1].startswith(caller.id)


def test_create_gives_a_key_what_its_options_say(keys: Keys) -> None:
    limits = "--requests-per-second 50 --rows-per-second 0.5 --concurrency 4 --body-bytes 1000 --batch-rows 100"
    text = keys("create", "reports", "--models", "a-*", "b", "--admin", "--expires", "12h", *limits.split())[-1]
    caller = access().authenticate_now(bearer(text))
    assert caller
    assert (caller.models, caller.admin, caller.limits) == (("a-*", "b"), True, Limits(50, 0.5, 4, 1000, 100))
    (key,) = open_store("sqlite:///build/keys.db").read().values()
    assert key.expires == key.created + timedelta(hours=12)


def test_list_shows_each_key_and_its_state_and_never_a_digest(keys: Keys) -> None:
    keys("create", "one", "--concurrency", "4", "--expires", "90d")
    keys("create", "two", "--admin")
    second = keys("list")[2].split()[0]
    keys("revoke", second)
    heading, *rows = keys("list")
    assert heading.split() == list(HEADINGS)
    assert [(row.split()[1], row.split()[-1]) for row in rows] == [("one", "active"), ("two", "revoked")]
    assert "4 at once" in rows[0]
    assert "never" not in rows[0]
    for key in open_store("sqlite:///build/keys.db").read().values():
        assert key.digest not in "\n".join(rows)


def test_a_revoked_key_no_longer_works(keys: Keys) -> None:
    text = keys("create", "reports")[-1]
    server = access()
    assert server.authenticate_now(bearer(text))
    assert "is revoked" in keys("revoke", text.split("_")[1])[0]
    server.refresh()
    with pytest.raises(Unauthenticated, match="revoked"):
        server.authenticate_now(bearer(text))


def test_rotate_makes_a_key_that_may_do_the_same_and_ends_the_old_one_after_the_overlap(keys: Keys) -> None:
    old = keys("create", "reports", "--models", "a-*", "--admin", "--concurrency", "4", "--expires", "90d")[-1]
    new = keys("rotate", old.split("_")[1], "--overlap", "2h")[-1]
    server = access()
    before, after = server.authenticate_now(bearer(old)), server.authenticate_now(bearer(new))
    assert before
    assert after
    assert before.id != after.id
    assert (before.name, before.models, before.admin, before.limits) == (
        after.name,
        after.models,
        after.admin,
        after.limits,
    )
    kept = open_store("sqlite:///build/keys.db").read()
    assert kept[after.id].expires == kept[after.id].created + timedelta(days=90)
    later = open_access(AccessSettings(), clock=lambda: time.time() + 2 * 3600 + 1)
    assert later.authenticate_now(bearer(new))
    with pytest.raises(Unauthenticated, match="revoked"):
        later.authenticate_now(bearer(old))


def test_settings_are_those_of_the_file_that_is_named(keys: Keys, folder: Path) -> None:
    (folder / "serve.yaml").rename(folder / "other.yaml")
    assert keys("create", "reports", "--settings", "other.yaml")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("", "required: action"),
        ("create", "required: NAME"),
        ("list", "there are no keys yet: make one with `python -m serve keys create NAME`"),
        ("revoke 0123", "there are no keys yet"),
        ("rotate 0123", "there are no keys yet"),
        ("create 'a\nb'", "NAME: expected printable characters only"),
        ("create ''", "NAME: string should have at least 1 character"),
        ("create a --models 'b c'", "--models: string should match pattern"),
        ("create a --expires soon", "--expires: expected a time such as 90d, 12h or 30m or never, got 'soon'"),
        ("create a --expires 0d", "--expires"),
        ("create a --expires -1d", "--expires"),
        ("create a --expires 999999999d", "--expires"),
        ("create a --concurrency 0", "--concurrency: input should be greater than or equal to 1, got 0"),
        ("create a --requests-per-second nan", "--requests-per-second"),
        ("create a --requests-per-second 0", "--requests-per-second: input should be greater than 0"),
        ("create a --rows-per-second inf", "--rows-per-second: input should be a finite number"),
        ("create a --body-bytes 1.5", "invalid int value"),
        ("list --settings nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_makes_no_key(mistake: Callable[..., str], arguments: str, part: str) -> None:
    assert part in mistake(*shlex.split(arguments))
    assert not Path("build").exists()


def test_an_unknown_or_ended_key_is_neither_rotated_nor_revoked(keys: Keys, mistake: Callable[..., str]) -> None:
    ended = keys("create", "reports")[-1].split("_")[1]
    keys("revoke", ended)
    assert f"key {ended} is revoked and can't be rotated" in mistake("rotate", ended)
    assert "no key has the id 'nope'" in mistake("rotate", "nope")
    assert "no key has the id 'nope'" in mistake("revoke", "nope")
    assert "--overlap: expected a time" in mistake("rotate", ended, "--overlap", "never")
    assert len(keys("list")) == 2


def shape(text: str) -> str:
    """Output without what differs from run to run: ids, secrets, times and the width of columns."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"\b[0-9a-f]{12}\b|[0-9a-f]{12}_[0-9a-f]{64}", "ID", text)).strip()


def test_the_page_about_access_shows_what_the_commands_print(keys: Keys) -> None:
    ids: dict[str, str] = {}
    shown = examples(ROOT / "docs" / "access.md")
    assert {example.program.split()[4] for example in shown} == {"create", "list", "rotate", "revoke"}
    for example in shown:
        words = shlex.split(example.program)
        assert words[:4] == ["python", "-m", "serve", "keys"]
        lines = keys(*(ids.get(word, word) for word in words[4:]))
        assert [shape(line) for line in lines] == [shape(line) for line in example.output.splitlines()]
        found = re.compile(r"^(?:mtd_)?([0-9a-f]{12})", re.MULTILINE)
        ids |= dict(zip(found.findall(example.output), found.findall("\n".join(lines)), strict=True))
