"""``ecr-tags-immutable``."""

from __future__ import annotations

import pytest

from policies.rules.ecr_tags_immutable import ecr_tags_immutable
from policies.testing import Case, Cases, drop, put, resource

CASES = Cases(
    ecr_tags_immutable,
    passing=[resource("aws:ecr/repository:Repository", {"imageTagMutability": "IMMUTABLE"})],
    failing=[
        put("imageTagMutability", "MUTABLE"),
        put("imageTagMutability", "IMMUTABLE_WITH_EXCLUSION"),
        drop("imageTagMutability"),
    ],
    unknown=["imageTagMutability"],
    fixed=True,
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_ecr_tags_immutable(case: Case) -> None:
    case.check()
