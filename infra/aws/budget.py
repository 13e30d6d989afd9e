"""What a month may cost, and what costs more than it used to."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account

TAG = "stack"
"""Of :meth:`infra.naming.Naming.tags`, on all that is made."""

ACTUAL_PERCENT = (50, 80, 100)
FORECAST_PERCENT = 100

ANOMALY_SHARE = 10
"""An anomaly is told from this share of the month's budget on, in percent of it."""

LEAST_ANOMALY_USD = 5


@dataclass(frozen=True)
class BudgetArgs:
    account: Account
    monthly_usd: int
    email: str
    alerts_topic_arn: pulumi.Input[str]


class Budget(pulumi.ComponentResource):
    """Told by e-mail and topic at 50, 80 and 100 % of the month's budget, and when the forecast goes over it.

    Both count what carries the stack's tag: it must be activated as a cost allocation tag once in an account, and
    counts from then on. The monitor goes by the tag since an account has but one monitor of all services, and AWS
    makes that one by itself: https://docs.aws.amazon.com/cost-management/latest/userguide/getting-started-ad.html
    """

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Budget", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        naming = args.account.naming
        aws.budgets.Budget(
            name,
            name=naming.name("monthly"),
            budget_type="COST",
            limit_amount=str(args.monthly_usd),
            limit_unit="USD",
            time_unit="MONTHLY",
            cost_filters=[
                aws.budgets.BudgetCostFilterArgs(name="TagKeyValue", values=[f"user:{TAG}${naming.stack}"]),
            ],
            notifications=[
                *(_told(args, "ACTUAL", percent) for percent in ACTUAL_PERCENT),
                _told(args, "FORECASTED", FORECAST_PERCENT),
            ],
            opts=child,
        )
        monitor = aws.costexplorer.AnomalyMonitor(
            name,
            name=naming.name("costs"),
            monitor_type="CUSTOM",
            monitor_specification=json.dumps({"Tags": {"Key": TAG, "Values": [naming.stack]}}),
            opts=child,
        )
        aws.costexplorer.AnomalySubscription(
            name,
            name=naming.name("anomalies"),
            # A topic takes no summaries, only each anomaly by itself.
            frequency="IMMEDIATE",
            monitor_arn_lists=[monitor.arn],
            subscribers=[aws.costexplorer.AnomalySubscriptionSubscriberArgs(type="SNS", address=args.alerts_topic_arn)],
            threshold_expression=aws.costexplorer.AnomalySubscriptionThresholdExpressionArgs(
                dimension=aws.costexplorer.AnomalySubscriptionThresholdExpressionDimensionArgs(
                    key="ANOMALY_TOTAL_IMPACT_ABSOLUTE",
                    match_options=["GREATER_THAN_OR_EQUAL"],
                    values=[str(max(LEAST_ANOMALY_USD, args.monthly_usd * ANOMALY_SHARE // 100))],
                )
            ),
            opts=child,
        )
        self.register_outputs({})


def _told(args: BudgetArgs, kind: str, percent: int) -> aws.budgets.BudgetNotificationArgs:
    return aws.budgets.BudgetNotificationArgs(
        comparison_operator="GREATER_THAN",
        notification_type=kind,
        threshold=percent,
        threshold_type="PERCENTAGE",
        subscriber_email_addresses=[args.email],
        subscriber_sns_topic_arns=[args.alerts_topic_arn],
    )
