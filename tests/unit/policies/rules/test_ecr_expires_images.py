"""``ecr-expires-images``."""

from __future__ import annotations

import json

import pytest

from policies.node import UNKNOWN, Resource
from policies.rules.ecr_expires_images import LIFECYCLE, ecr_expires_images
from policies.testing import Case, Cases, gone, put, resource, stack

REPOSITORY = resource("aws:ecr/repository:Repository", {"name": "ours"}, "repository")
OTHER = resource("aws:ecr/repository:Repository", {"name": "other"}, "other")
EXPIRES = json.dumps({"rules": [{"selection": {}, "action": {"type": "expire"}}]})
ARCHIVES = json.dumps({"rules": [{"selection": {}, "action": {"type": "transition"}}]})


def lifecycle(of: Resource | str, name: str = "lifecycle") -> Resource:
    links = {"repository": [of]} if isinstance(of, Resource) else {}
    given = UNKNOWN if isinstance(of, Resource) else of
    return resource(LIFECYCLE, {"repository": given, "policy": EXPIRES}, name, links=links)


CASES = [
    Cases(
        ecr_expires_images,
        passing=[
            stack(REPOSITORY, lifecycle(REPOSITORY)),
            stack(REPOSITORY, lifecycle("ours")),
            stack(REPOSITORY, OTHER, lifecycle(REPOSITORY), lifecycle("other", "second")),
            stack(OTHER, lifecycle(OTHER), lifecycle(REPOSITORY, "second")),
            stack(),
        ],
        failing=[
            gone("lifecycle"),
            put("policy", ARCHIVES, at="lifecycle"),
            put("policy", "{}", at="lifecycle"),
            put("policy", "none", at="lifecycle"),
            stack(REPOSITORY, lifecycle("other")),
            stack(REPOSITORY, OTHER, lifecycle(REPOSITORY)),
        ],
        unknown=[put("policy", UNKNOWN, at="lifecycle")],
    ),
    Cases(
        ecr_expires_images,
        passing=[stack(REPOSITORY, lifecycle("ours"))],
        failing=[put("repository", None, at="lifecycle"), put("repository", ["ours"], at="lifecycle")],
        unknown=[put("repository", UNKNOWN, at="lifecycle"), put("name", UNKNOWN, at="repository")],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_ecr_expires_images(case: Case) -> None:
    case.check()
