"""What of Bedrock the serving containers may invoke: the configured models, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws.account import Account
from infra.aws.iam import Statement, policy

INVOKE = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
GUARD = ("bedrock:ApplyGuardrail",)
WORLDWIDE = "global."


@dataclass(frozen=True)
class BedrockArgs:
    account: Account
    settings: settings.Bedrock


class Bedrock(pulumi.ComponentResource):
    """A policy for whoever calls language models: the ingress's task role, and the pods' on Kubernetes.

    Models of the stack's own region and of ``regions`` may be invoked as they are, those of ``profile_regions`` through
    one of the profiles alone.
    """

    policy_arn: pulumi.Output[str]
    model_arns: list[str]

    def __init__(self, name: str, args: BedrockArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Bedrock", name, None, opts)
        account = args.account
        self.model_arns = [
            arn for region in _asked(args.settings, account) for arn in model_arns(args.settings, region)
        ]
        made = aws.iam.Policy(
            name,
            name=account.naming.name("bedrock"),
            description="Invoke the language models of this stack",
            policy=policy(statements(args.settings, account)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.policy_arn = made.arn
        self.register_outputs({"policy_arn": self.policy_arn, "model_arns": self.model_arns})


def model_arns(of: settings.Bedrock, region: str) -> list[str]:
    """Foundation models belong to AWS, so their ARNs name no account."""
    return [f"arn:aws:bedrock:{region}::foundation-model/{model}" for model in of.models]


def _asked(of: settings.Bedrock, account: Account) -> list[str]:
    """The regions that are called, the stack's own first."""
    return list(dict.fromkeys([account.region, *of.regions]))


def _own(of: settings.Bedrock, account: Account, kind: str, ids: Sequence[str]) -> list[str]:
    """What belongs to the account, in each region that is called."""
    return [account.arn("bedrock", f"{kind}/{each}", region=region) for region in _asked(of, account) for each in ids]


def statements(of: settings.Bedrock, account: Account) -> list[Statement]:
    """A global profile leads to models whose ARNs name no region.

    https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html,
    https://docs.aws.amazon.com/bedrock/latest/userguide/global-cross-region-inference.html
    """
    asked = _asked(of, account)
    found = [Statement(INVOKE, [arn for region in asked for arn in model_arns(of, region)])]
    if of.guardrails:
        found.append(Statement(GUARD, _own(of, account, "guardrail", of.guardrails)))
    profiles = _own(of, account, "inference-profile", of.profiles)
    if not profiles:
        return found
    found.append(Statement(INVOKE, profiles))
    regions = [region for region in of.profile_regions if region not in asked]
    if any(profile.startswith(WORLDWIDE) for profile in of.profiles):
        regions.append("")
    elsewhere = [arn for region in regions for arn in model_arns(of, region)]
    if elsewhere:
        through: dict[str, pulumi.Input[str | list[str]]] = {"bedrock:InferenceProfileArn": profiles}
        found.append(Statement(INVOKE, elsewhere, conditions={"ArnEquals": through}))
    return found
