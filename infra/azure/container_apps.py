"""The ingress on Container Apps: the image of ECS, behind Azure's own TLS, scaled by requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_azure_native as azure

from infra import settings
from infra.azure.logs import send
from infra.azure.place import Place
from serve.settings import TEXT_VARIABLE

PORT = 8000
READY = "/v2/health/ready"
LIVE = "/v2/health/live"

KEYS_FOLDER = "/run/keys"
KEYS_FILE = "api-keys"
KEYS = f"file://{KEYS_FOLDER}/{KEYS_FILE}"
"""``access.keys`` of the serving settings. Azure writes the file anew within half an hour of a change.
https://learn.microsoft.com/azure/container-apps/manage-secrets"""

GIB_PER_CPU = 2
"""The only share that Azure sells.
https://learn.microsoft.com/azure/container-apps/containers#allocations"""

PROFILE = "Consumption"
START_SECONDS = 15
START_LOOKS = 10
"""The most that Azure takes."""


@dataclass(frozen=True)
class ContainerAppsArgs:
    """``serving``: the text of the serving settings, with :data:`KEYS` and :data:`PORT` in them.

    ``environment``: more variables, readable to whoever may see the app, so no secret belongs there.
    """

    place: Place
    group: pulumi.Input[str]
    settings: settings.Azure
    workspace_id: pulumi.Input[str]
    subnet_id: pulumi.Input[str]
    identity_id: pulumi.Input[str]
    registry_server: pulumi.Input[str]
    image: pulumi.Input[str]
    api_keys_uri: pulumi.Input[str]
    serving: str
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


class ContainerApps(pulumi.ComponentResource):
    """An environment in the stack's network and one app in it."""

    url: pulumi.Output[str]

    def __init__(self, name: str, args: ContainerAppsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:azure:ContainerApps", name, None, opts)
        self._args = args
        self._opts = args.place.options(self)
        environment = self._environment(name)
        app = azure.app.ContainerApp(
            name,
            container_app_name=args.place.name("app", "ingress"),
            resource_group_name=args.group,
            location=args.place.location,
            environment_id=environment.id,
            workload_profile_name=PROFILE,
            identity=azure.app.ManagedServiceIdentityArgs(
                type=azure.app.ManagedServiceIdentityType.USER_ASSIGNED, user_assigned_identities=[args.identity_id]
            ),
            configuration=self._configuration(),
            template=self._template(),
            opts=self._opts,
        )
        # An app with external ingress has this name; only when it is there does it answer.
        self.url = pulumi.Output.concat("https://", app.name, ".", environment.default_domain)
        self.register_outputs({"url": self.url})

    def _environment(self, name: str) -> azure.app.ManagedEnvironment:
        args = self._args
        environment = azure.app.ManagedEnvironment(
            name,
            environment_name=args.place.name("environment"),
            resource_group_name=args.group,
            location=args.place.location,
            app_logs_configuration=azure.app.AppLogsConfigurationArgs(destination="azure-monitor"),
            vnet_configuration=azure.app.VnetConfigurationArgs(infrastructure_subnet_id=args.subnet_id, internal=False),
            workload_profiles=[azure.app.WorkloadProfileArgs(name=PROFILE, workload_profile_type=PROFILE)],
            zone_redundant=False,
            opts=self._opts,
        )
        send(name, environment.id, args.workspace_id, ("ContainerAppConsoleLogs", "ContainerAppSystemLogs"), self)
        return environment

    def _configuration(self) -> azure.app.ConfigurationArgs:
        args = self._args
        return azure.app.ConfigurationArgs(
            active_revisions_mode=azure.app.ActiveRevisionsMode.SINGLE,
            ingress=azure.app.IngressArgs(
                external=True,
                allow_insecure=False,
                target_port=PORT,
                transport=azure.app.IngressTransportMethod.AUTO,
                traffic=[azure.app.TrafficWeightArgs(latest_revision=True, weight=100)],
            ),
            registries=[azure.app.RegistryCredentialsArgs(server=args.registry_server, identity=args.identity_id)],
            secrets=[azure.app.SecretArgs(name=KEYS_FILE, key_vault_url=args.api_keys_uri, identity=args.identity_id)],
        )

    def _template(self) -> azure.app.TemplateArgs:
        args = self._args
        chosen = args.settings
        variables = {**args.environment, TEXT_VARIABLE: args.serving}
        return azure.app.TemplateArgs(
            containers=[
                azure.app.ContainerArgs(
                    name="ingress",
                    image=args.image,
                    resources=azure.app.ContainerResourcesArgs(
                        cpu=chosen.cpu, memory=f"{chosen.cpu * GIB_PER_CPU:.1f}Gi"
                    ),
                    # Sorted, so that the same settings make the same app and no new revision.
                    env=[
                        azure.app.EnvironmentVarArgs(name=name, value=value)
                        for name, value in sorted(variables.items())
                    ],
                    probes=[
                        _probe(azure.app.Type.STARTUP, READY, period=START_SECONDS, failures=START_LOOKS),
                        _probe(azure.app.Type.READINESS, READY, period=5, failures=3),
                        _probe(azure.app.Type.LIVENESS, LIVE, period=10, failures=6),
                    ],
                    volume_mounts=[azure.app.VolumeMountArgs(volume_name="keys", mount_path=KEYS_FOLDER)],
                )
            ],
            volumes=[
                azure.app.VolumeArgs(
                    name="keys",
                    storage_type=azure.app.StorageType.SECRET,
                    secrets=[azure.app.SecretVolumeItemArgs(secret_ref=KEYS_FILE, path=KEYS_FILE)],
                )
            ],
            scale=azure.app.ScaleArgs(
                min_replicas=chosen.least,
                max_replicas=chosen.most,
                rules=[
                    azure.app.ScaleRuleArgs(
                        name="requests",
                        http=azure.app.HttpScaleRuleArgs(
                            metadata={"concurrentRequests": str(chosen.requests_per_replica)}
                        ),
                    )
                ],
            ),
            termination_grace_period_seconds=60,
        )


def _probe(type_: azure.app.Type, path: str, *, period: int, failures: int) -> azure.app.ContainerAppProbeArgs:
    return azure.app.ContainerAppProbeArgs(
        type=type_,
        http_get=azure.app.ContainerAppProbeHttpGetArgs(path=path, port=PORT, scheme=azure.app.Scheme.HTTP),
        period_seconds=period,
        failure_threshold=failures,
        timeout_seconds=4,
    )
