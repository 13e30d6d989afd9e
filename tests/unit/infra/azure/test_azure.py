"""Azure's half of a stack, from what the whole of it registers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pulumi
import pytest

from infra import settings
from infra.azure.container_apps import KEYS, ContainerApps, ContainerAppsArgs
from infra.azure.container_instance import ContainerInstance, ContainerInstanceArgs
from infra.azure.identity import ACR_PULL, KEY_VAULT_SECRETS_USER, Identity, IdentityArgs
from infra.azure.logs import Logs, LogsArgs
from infra.azure.names import NameNotAllowed, name_of
from infra.azure.network import Network, NetworkArgs
from infra.azure.place import Place
from infra.azure.registry import Registry, RegistryArgs
from infra.azure.resource_group import ResourceGroup, ResourceGroupArgs
from infra.azure.vault import NO_KEYS, Vault, VaultArgs
from infra.check.record import Recording, Resource, record
from infra.naming import Naming
from infra.tagging import tag_everything
from serve.access import documents
from serve.access.settings import AccessSettings

PROJECT = "ml-training-deployment"
SUBSCRIPTION = "00000000-0000-4000-8000-000000000000"
SERVING = f"access:\n  keys: {KEYS}\n"
SETTINGS = settings.Azure(
    tracking_uri="https://mlflow.example.com", least=1, most=5, cpu=2.0, requests_per_replica=40, instance=True
)


def program(protect: bool) -> Callable[[], None]:
    def build() -> None:
        naming = Naming(PROJECT, "dev")
        tag_everything(naming.tags("ops"))
        place = Place.current(naming, "westeurope", 30, protect)
        group = ResourceGroup("group", ResourceGroupArgs(place)).name
        logs = Logs("logs", LogsArgs(place, group))
        network = Network("azure-network", NetworkArgs(place, group))
        registry = Registry("registry", RegistryArgs(place, group, logs.workspace_id))
        subnets = (network.apps_subnet_id, network.jobs_subnet_id)
        vault = Vault("vault", VaultArgs(place, group, logs.workspace_id, subnets))
        identity = Identity("identity", IdentityArgs(place, group, registry.id, vault.id))
        image = pulumi.Output.concat(registry.server, "/serve:0.1.0")
        ContainerApps(
            "apps",
            ContainerAppsArgs(
                place,
                group,
                SETTINGS,
                logs.workspace_id,
                network.apps_subnet_id,
                identity.id,
                registry.server,
                image,
                vault.api_keys_uri,
                SERVING,
            ),
        )
        ContainerInstance(
            "job",
            ContainerInstanceArgs(place, group, network.jobs_subnet_id, identity.id, registry.server, image, SERVING),
        )

    return build


@cache
def recorded(protect: bool = False) -> Recording:
    return record(program(protect), project=PROJECT, stack="dev", config={})


def only(kind: str, protect: bool = False) -> Resource:
    (found,) = (each for each in recorded(protect).resources if each.custom and each.type.endswith(f":{kind}"))
    return found


def inputs(kind: str, protect: bool = False) -> dict[str, Any]:
    return dict(only(kind, protect).inputs)


@pytest.mark.parametrize("kind", ["Registry", "Vault", "Workspace", "ContainerApp", "ContainerGroup", "VirtualNetwork"])
def test_everything_is_in_the_stacks_group_and_location_and_has_its_tags(kind: str) -> None:
    found = inputs(kind)
    assert inputs("ResourceGroup")["resourceGroupName"] == "mtd-dev"
    assert only("ResourceGroup").urn in only(kind).property_dependencies["resourceGroupName"]
    assert found["location"] == "westeurope"
    assert found["tags"]["stack"] == "dev"


def test_the_registry_has_no_password_and_lets_nobody_pull_without_a_role() -> None:
    registry = inputs("Registry")
    assert registry["adminUserEnabled"] is False
    assert registry["anonymousPullEnabled"] is False
    assert registry["sku"] == {"name": "Basic"}


def test_the_vault_goes_by_roles_can_not_be_purged_and_refuses_other_networks() -> None:
    properties = inputs("Vault")["properties"]
    assert properties["enableRbacAuthorization"] is True
    assert properties["enablePurgeProtection"] is True
    rules = properties["networkAcls"]
    assert (rules["defaultAction"], rules["bypass"], rules["ipRules"]) == ("Deny", "None", [])
    assert [rule["id"].rpartition("/")[2] for rule in rules["virtualNetworkRules"]] == ["apps", "jobs"]


def test_each_subnet_that_the_vault_lets_in_has_its_endpoint() -> None:
    for subnet in inputs("VirtualNetwork")["subnets"]:
        assert [each["service"] for each in subnet["serviceEndpoints"]] == ["Microsoft.KeyVault"]


def test_the_internet_reaches_the_ingress_by_https_and_the_jobs_not_at_all() -> None:
    groups = {each.name: each.inputs for each in recorded().of_type("azure-native:network:NetworkSecurityGroup")}
    (rule,) = groups["apps"]["securityRules"]
    assert (rule["sourceAddressPrefix"], rule["destinationPortRanges"]) == ("Internet", ["443", "31443"])
    assert groups["jobs"]["securityRules"] == []


def test_the_identity_may_pull_images_and_read_secrets_and_nothing_else() -> None:
    assignments = recorded().of_type("azure-native:authorization:RoleAssignment")
    roles = {each.name: each.inputs["roleDefinitionId"].rpartition("/")[2] for each in assignments}
    assert roles == {"identity-pull": ACR_PULL, "identity-read-secrets": KEY_VAULT_SECRETS_USER}
    scopes = {each.name: each.property_dependencies["scope"] for each in assignments}
    assert only("Registry").urn in scopes["identity-pull"]
    assert only("Vault").urn in scopes["identity-read-secrets"]
    assert all(each.inputs["principalType"] == "ServicePrincipal" for each in assignments)


def test_the_app_is_made_after_the_roles_that_it_pulls_with() -> None:
    roles = {each.urn for each in recorded().of_type("azure-native:authorization:RoleAssignment")}
    assert roles <= set(only("ContainerApp").dependencies)


def test_the_app_takes_requests_by_tls_alone() -> None:
    ingress = inputs("ContainerApp")["configuration"]["ingress"]
    assert (ingress["external"], ingress["allowInsecure"], ingress["targetPort"]) == (True, False, 8000)


def test_the_app_scales_by_requests_between_the_settings_bounds() -> None:
    scale = inputs("ContainerApp")["template"]["scale"]
    assert (scale["minReplicas"], scale["maxReplicas"]) == (1, 5)
    assert scale["rules"] == [{"name": "requests", "http": {"metadata": {"concurrentRequests": "40"}}}]


def test_memory_goes_with_cpu_as_azure_sells_it() -> None:
    (container,) = inputs("ContainerApp")["template"]["containers"]
    assert container["resources"] == {"cpu": 2, "memory": "4.0Gi"}


def test_each_probe_asks_the_ingress() -> None:
    (container,) = inputs("ContainerApp")["template"]["containers"]
    asked = {probe["type"]: (probe["httpGet"]["path"], probe["httpGet"]["port"]) for probe in container["probes"]}
    assert asked == {
        "Startup": ("/v2/health/ready", 8000),
        "Readiness": ("/v2/health/ready", 8000),
        "Liveness": ("/v2/health/live", 8000),
    }


def test_the_keys_come_from_the_vault_into_a_file_that_the_settings_name() -> None:
    app = inputs("ContainerApp")
    (secret,) = app["configuration"]["secrets"]
    assert "value" not in secret
    assert secret["keyVaultUrl"] == "https://vault.vault.azure.net/secrets/vault-api-keys"
    assert only("Secret").urn in only("ContainerApp").dependencies
    assert secret["identity"]
    (volume,) = app["template"]["volumes"]
    (mount,) = app["template"]["containers"][0]["volumeMounts"]
    assert volume["storageType"] == "Secret"
    assert f"file://{mount['mountPath']}/{volume['secrets'][0]['path']}" == KEYS
    assert volume["secrets"][0]["secretRef"] == secret["name"]
    assert AccessSettings.model_validate({"keys": KEYS}).keys == KEYS


def test_the_vault_begins_with_a_document_of_no_keys_and_keeps_what_others_write() -> None:
    assert inputs("Secret")["properties"]["value"] == NO_KEYS
    assert documents.from_json(NO_KEYS, "vault") == {}
    assert "properties.value" in only("Secret").options["ignore_changes"]


def test_no_key_of_the_workspace_is_anywhere() -> None:
    assert inputs("Workspace")["features"]["disableLocalAuth"] is True
    assert "sharedKey" not in json.dumps([each.inputs for each in recorded().resources])
    assert [each.token for each in recorded().calls] == ["azure-native:authorization:getClientConfig"]


def test_the_job_runs_once_in_the_network_and_listens_to_nothing() -> None:
    job = inputs("ContainerGroup")
    assert job["restartPolicy"] == "Never"
    assert "ipAddress" not in job
    assert job["subnetIds"][0]["id"].endswith("/subnets/jobs")
    (container,) = job["containers"]
    assert container["command"] == ["python", "-m", "serve", "check"]
    assert "ports" not in container


def test_app_and_job_run_the_same_image_from_the_registry_with_the_same_settings() -> None:
    (app,), (job,) = inputs("ContainerApp")["template"]["containers"], inputs("ContainerGroup")["containers"]
    assert app["image"] == job["image"]
    assert app["image"].endswith("/serve:0.1.0")
    assert app["env"] == [{"name": "SERVE_SETTINGS_YAML", "value": SERVING}]
    assert job["environmentVariables"] == app["env"]


@pytest.mark.parametrize("kind", ["ResourceGroup", "Registry", "Vault", "Workspace"])
def test_what_holds_data_survives_a_destroy_where_the_stack_is_protected(kind: str) -> None:
    def protected(protect: bool) -> bool:
        return bool(only(kind, protect).options["protect"])

    assert protected(True)
    assert not protected(False)


@pytest.mark.parametrize(
    ("kind", "name"), [("registry", "mtddevdb8055e0"), ("vault", "mtd-dev-db8055e0"), ("app", "mtd-dev-ingress")]
)
def test_a_name_is_as_its_kind_may_be_named_and_its_own_where_azure_has_one_of_it(kind: Any, name: str) -> None:
    assert name_of(kind, Naming(PROJECT, "dev"), SUBSCRIPTION, *(["ingress"] if kind == "app" else [])) == name


@pytest.mark.parametrize(
    ("kind", "stack", "message"),
    [
        (
            "vault",
            "a-long-stack-name",
            "Azure takes no vault named 'mtd-a-long-stack-name-db8055e0', expected 3 to 24 lower-case letters and "
            "digits, and single hyphens between them: name the stack otherwise",
        ),
        (
            "registry",
            "Dev",
            "Azure takes no registry named 'mtdDevdb8055e0', expected 5 to 50 lower-case letters and digits: "
            "name the stack otherwise",
        ),
    ],
)
def test_a_stack_that_azure_can_not_name_is_refused_before_anything_is_made(
    kind: Any, stack: str, message: str
) -> None:
    with pytest.raises(NameNotAllowed) as raised:
        name_of(kind, Naming(PROJECT, stack), SUBSCRIPTION)
    assert str(raised.value) == message
