"""What of Bedrock the serving containers may invoke: the configured models, and no others."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws.account import Account
from infra.aws.iam import Statement, policy

INVOKE = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")


@dataclass(frozen=True)
class BedrockArgs:
    account: Account
    settings: settings.Bedrock


class Bedrock(pulumi.ComponentResource):
    """A policy for whoever calls language models: the ingress's task role, and the pods' on Kubernetes.

    Models of the stack's own region may be invoked as they are, those of ``profile_regions`` through one of the
    profiles alone.
    """

    policy_arn: pulumi.Output[str]
    model_arns: list[str]

    def __init__(self, name: str, args: BedrockArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Bedrock", name, None, opts)
        account = args.account
        self.model_arns = model_arns(args.settings, account.region)
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


def profile_arns(of: settings.Bedrock, account: Account) -> list[str]:
    return [account.arn("bedrock", f"inference-profile/{profile}") for profile in of.profiles]


def statements(of: settings.Bedrock, account: Account) -> list[Statement]:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html"""
    found = [Statement(INVOKE, model_arns(of, account.region))]
    profiles = profile_arns(of, account)
    if not profiles:
        return found
    found.append(Statement(INVOKE, profiles))
    elsewhere = [arn for region in of.profile_regions if region != account.region for arn in model_arns(of, region)]
    if elsewhere:
        through: dict[str, pulumi.Input[str | list[str]]] = {"bedrock:InferenceProfileArn": profiles}
        found.append(Statement(INVOKE, elsewhere, conditions={"ArnEquals": through}))
    return found
