"""Which language models the policy lets one invoke, and how."""

import json
from typing import Any

import pulumi

from infra import settings
from infra.aws.account import Account
from infra.aws.bedrock import Bedrock, BedrockArgs, model_arns, statements
from infra.check.record import record
from infra.naming import Naming

ACCOUNT = Account("123456789012", "us-east-1", ("us-east-1a",), Naming("ml-training-deployment", "dev"), 30, False)
MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE = f"us.{MODEL}"
PROFILE_ARN = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{PROFILE}"
BOTH = settings.Bedrock(models=(MODEL,), profiles=(PROFILE,), profile_regions=("us-east-1", "us-west-2"))


def documents(of: settings.Bedrock) -> list[dict[str, Any]]:
    return [each.document() for each in statements(of, ACCOUNT)]


def test_without_profiles_the_models_of_the_own_region_are_all() -> None:
    (only,) = documents(settings.Bedrock(models=(MODEL, "amazon.nova-lite-v1:0")))
    assert only["Resource"] == [
        f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}",
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
    ]
    assert "Condition" not in only


def test_models_of_other_regions_are_invoked_through_a_profile_alone() -> None:
    own, profile, elsewhere = documents(BOTH)
    assert own["Resource"] == [f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}"]
    assert profile["Resource"] == [PROFILE_ARN]
    assert elsewhere["Resource"] == [f"arn:aws:bedrock:us-west-2::foundation-model/{MODEL}"]
    assert elsewhere["Condition"] == {"ArnEquals": {"bedrock:InferenceProfileArn": [PROFILE_ARN]}}


def test_other_regions_that_are_asked_have_the_models_profiles_and_guardrails_too() -> None:
    more = BOTH.model_copy(update={"regions": ("us-west-2",), "guardrails": ("abc123def456",)})
    models, guardrails, profiles = documents(more)
    assert {arn.split(":")[3] for arn in models["Resource"]} == {"us-east-1", "us-west-2"}
    assert guardrails["Action"] == ["bedrock:ApplyGuardrail"]
    assert guardrails["Resource"] == [
        f"arn:aws:bedrock:{region}:123456789012:guardrail/abc123def456" for region in ("us-east-1", "us-west-2")
    ]
    assert {arn.split(":")[3] for arn in profiles["Resource"]} == {"us-east-1", "us-west-2"}


def test_a_global_profile_leads_to_models_of_no_region() -> None:
    worldwide = f"global.{MODEL}"
    own, profile, elsewhere = documents(settings.Bedrock(models=(MODEL,), profiles=(worldwide,)))
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{worldwide}"
    assert own["Resource"] == [f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}"]
    assert profile["Resource"] == [arn]
    assert elsewhere["Resource"] == [f"arn:aws:bedrock:::foundation-model/{MODEL}"]
    assert elsewhere["Condition"] == {"ArnEquals": {"bedrock:InferenceProfileArn": [arn]}}


def test_it_may_invoke_and_nothing_else() -> None:
    actions = {action for each in documents(BOTH) for action in each["Action"]}
    assert actions == {"bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"}


def test_the_component_makes_the_policy_and_says_which_models() -> None:
    def program() -> None:
        made = Bedrock("bedrock", BedrockArgs(ACCOUNT, BOTH))
        pulumi.export("arn", made.policy_arn)
        pulumi.export("models", made.model_arns)

    found = record(program, project="ml-training-deployment", stack="dev", config={"aws:region": "us-east-1"})
    policy = found.named("bedrock", "aws:iam/policy:Policy").inputs
    assert json.loads(policy["policy"])["Statement"] == documents(BOTH)
    assert found.outputs["models"] == model_arns(BOTH, "us-east-1")
    assert found.outputs["arn"].endswith(":policy/mtd-dev-bedrock")
