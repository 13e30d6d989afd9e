"""Log Analytics. Nobody has its key: Azure itself sends the logs of what asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_azure_native as azure

from infra.azure.place import Place

DAILY_GB = 1.0
"""Where a mistake that logs without end stops to cost."""


@dataclass(frozen=True)
class LogsArgs:
    place: Place
    group: pulumi.Input[str]


class Logs(pulumi.ComponentResource):
    """One workspace, kept for the place's ``log_days``."""

    workspace_id: pulumi.Output[str]

    def __init__(self, name: str, args: LogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:azure:Logs", name, None, opts)
        workspace = azure.operationalinsights.Workspace(
            name,
            workspace_name=args.place.name("workspace"),
            resource_group_name=args.group,
            location=args.place.location,
            sku=azure.operationalinsights.WorkspaceSkuArgs(name="PerGB2018"),
            retention_in_days=args.place.log_days,
            features=azure.operationalinsights.WorkspaceFeaturesArgs(
                disable_local_auth=True, enable_log_access_using_only_resource_permissions=True
            ),
            workspace_capping=azure.operationalinsights.WorkspaceCappingArgs(daily_quota_gb=DAILY_GB),
            opts=args.place.options(self, data=True),
        )
        self.workspace_id = workspace.id
        self.register_outputs({"workspace_id": self.workspace_id})


def send(
    name: str,
    source: pulumi.Input[str],
    workspace_id: pulumi.Input[str],
    categories: Sequence[str],
    parent: pulumi.Resource,
) -> None:
    """Send the logs of the resource with the id ``source`` to the workspace, by Azure's names of their categories."""
    azure.monitor.DiagnosticSetting(
        name,
        name="logs",
        resource_uri=source,
        workspace_id=workspace_id,
        logs=[azure.monitor.DiagnosticsLogSettingsArgs(category=category, enabled=True) for category in categories],
        opts=pulumi.ResourceOptions(parent=parent),
    )
