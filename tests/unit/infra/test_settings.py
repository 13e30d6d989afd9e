"""What a stack's settings refuse, in one line that names the place."""

import json
import re
from typing import Any

import pytest

from infra.settings import PROJECT, StackSettings, StackSettingsError, from_config

SMALL: dict[str, Any] = {
    "owner": "ops",
    "operations": {"email": "ops@example.com", "monthly_budget_usd": 100},
    "images": {"tag": "1.4.0"},
}
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-4000-8000-000000000000"
ADMIN = "arn:aws:iam::123456789012:role/admin"
ENDS = {"least": 5, "most": 3}


def read(**sections: Any) -> StackSettings:
    values = {f"{PROJECT}:{name}": json.dumps(value) for name, value in {**SMALL, **sections}.items()}
    return from_config({"aws:region": "eu-west-1", **values}, "Pulumi.dev.yaml")


def test_a_section_that_is_not_given_is_none() -> None:
    assert (read().tracking, read().azure) == (None, None)


@pytest.mark.parametrize(
    ("place", "sections"),
    [
        ("ecs.tasks", {"ecs": {"certificate": CERTIFICATE, "tasks": ENDS}}),
        ("ecs.gpus", {"ecs": {"certificate": CERTIFICATE, "gpus": ENDS}}),
        ("eks.nodes", {"eks": {"admins": [ADMIN], "nodes": ENDS}}),
        ("azure", {"azure": {"tracking_uri": "https://mlflow.example", **ENDS}}),
    ],
)
def test_there_are_never_to_be_more_at_least_than_at_most(place: str, sections: dict[str, Any]) -> None:
    message = f"Pulumi.dev.yaml: {place}: least is 5, expected at most `most`, which is 3"
    with pytest.raises(StackSettingsError, match=f"^{re.escape(message)}$"):
        read(**sections)


@pytest.mark.parametrize(
    ("part", "section"),
    [
        ("ecs", {"certificate": CERTIFICATE}),
        ("eks", {"admins": [ADMIN]}),
        ("pipeline", {"model": "m", "view": "v", "sources": {"t": []}}),
    ],
)
def test_what_serves_or_trains_needs_the_tracking_server(part: str, section: dict[str, Any]) -> None:
    with pytest.raises(StackSettingsError, match=f"^Pulumi.dev.yaml: {part} is given and tracking is not"):
        read(**{part: section})


def test_a_ledger_needs_an_ingress_that_writes_to_it() -> None:
    with pytest.raises(StackSettingsError, match=r"^Pulumi.dev.yaml: ledger is given and neither ecs nor eks is"):
        read(tracking={}, ledger={})
    assert read(tracking={}, ecs={"certificate": CERTIFICATE}, ledger={}).ledger is not None


@pytest.mark.parametrize(
    ("digests", "message"),
    [
        ({"serv": f"sha256:{'0' * 64}"}, "serv is no image, expected one of serve, serve-gpu, "),
        ({"serve": "0.1.0"}, "String should match pattern '^sha256:[0-9a-f]{64}$'"),
    ],
)
def test_a_digest_is_one_and_of_an_image_of_the_program(digests: dict[str, str], message: str) -> None:
    with pytest.raises(StackSettingsError, match=r"^Pulumi.dev.yaml: images\.digests.*" + re.escape(message)):
        read(images={"tag": "1.4.0", "digests": digests})


def test_an_image_is_named_by_its_digest_or_by_the_tag_of_the_release() -> None:
    digest = f"sha256:{'0' * 64}"
    images = read(images={"tag": "1.4.0", "digests": {"serve": digest}}).images
    assert (images.which("serve"), images.which("mlflow")) == (f"@{digest}", ":1.4.0")
