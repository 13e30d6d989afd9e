"""``bedrock-models-listed``."""

from __future__ import annotations

import pytest

from policies.rules.bedrock_models_listed import bedrock_models_listed
from policies.testing import Case, Cases
from tests.unit.policies.rules.statements import role_policy

MODEL = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0"
OTHER = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
INVOKE = {"Effect": "Allow", "Action": ["bedrock:InvokeModel"], "Resource": [MODEL, PROFILE]}

CASES = [
    Cases(
        bedrock_models_listed,
        passing=[
            role_policy(INVOKE),
            role_policy(INVOKE, Action="bedrock:InvokeModelWithResponseStream", Resource=OTHER),
            role_policy(INVOKE, Effect="Deny", Resource="*"),
            role_policy(INVOKE, Action="bedrock:ListFoundationModels", Resource="*"),
        ],
        failing=[
            role_policy(INVOKE, Resource="*"),
            role_policy(INVOKE, Resource=[MODEL, "arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0"]),
            role_policy(INVOKE, Resource="arn:aws:bedrock:us-east-1::foundation-model/anthropic.*"),
            role_policy(INVOKE, Resource="arn:aws:bedrock:us-east-1:123456789012:agent/ours"),
            role_policy(INVOKE, Resource=None, NotResource=OTHER),
            role_policy(INVOKE, Action="bedrock:Invoke*", Resource="*"),
            role_policy(INVOKE, Action=None, NotAction="s3:*", Resource="*"),
        ],
        unknown=["policy"],
    ),
    Cases(
        bedrock_models_listed,
        passing=[role_policy(INVOKE)],
        failing=[role_policy(INVOKE, Resource=[MODEL, OTHER]), role_policy(INVOKE, Resource=OTHER)],
        config={"models": ["anthropic.claude-haiku-*", "us.anthropic.*"]},
    ),
    Cases(
        bedrock_models_listed,
        passing=[role_policy(INVOKE, Action="s3:GetObject")],
        failing=[role_policy(INVOKE), role_policy(INVOKE, Resource=PROFILE)],
        config={"models": []},
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_bedrock_models_listed(case: Case) -> None:
    case.check()
