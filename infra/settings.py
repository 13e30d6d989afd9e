"""``Pulumi.<stack>.yaml``: what a stack has. Parsed once, here.

A section that is not given is not built. Sizes are AWS's own units unless the name says otherwise:
Fargate CPU units (1024 is one vCPU), MiB of memory, GiB of disk.

Errors::

    UserError
    └── StackSettingsError    the file can't be read, or says what can't be: file, path in it, what was expected
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from console import UserError, one_line
from infra.section import Arn, Cidr, Digest, Email, InstanceType, Region, Section, Tag
from infra.section import FargateSize as FargateSize

PROJECT = "ml-training-deployment"
SECRET_KEYS = frozenset({"webhook_url"})
"""Config values that ``pulumi config set --secret`` writes, by key. All other secrets are made in the cloud."""


class StackSettingsError(UserError):
    """A stack's settings can't be read, or say what can't be."""


class Network(Section):
    """``zones``: availability zones, each with a public and a private subnet.

    ``endpoint_zones``: in how many of them AWS's services have an address; each costs by the hour. ``nat``: a
    gateway to the internet for the private subnets, which only foreign registries, hubs of models and Bedrock in other
    regions need.
    """

    cidr: Cidr = "10.20.0.0/16"
    zones: int = Field(default=2, ge=2, le=3)
    endpoint_zones: int = Field(default=1, ge=1, le=3)
    nat: bool = False

    @model_validator(mode="after")
    def _endpoints_have_a_zone(self) -> Self:
        if self.endpoint_zones > self.zones:
            raise ValueError(f"endpoint_zones is {self.endpoint_zones}, expected at most zones, which is {self.zones}")
        return self


IMAGES = ("serve", "serve-gpu", "serve-llm", "training", "features", "lambda", "mlflow")
"""Each has a Dockerfile in ``infra/images``, and a repository in the stack."""


def _are_of_images(digests: dict[str, str]) -> dict[str, str]:
    strange = sorted(digests.keys() - set(IMAGES))
    if strange:
        raise ValueError(f"{strange[0]} is no image, expected one of {', '.join(IMAGES)}")
    return digests


class Images(Section):
    """The tag of each image in the stack's own repositories (``infra/images``); they share one release.

    ``digests``: of those that run by their digest, whatever the tag; the push of an image says it.
    """

    tag: Tag
    digests: Annotated[dict[str, Digest], AfterValidator(_are_of_images)] = Field(default_factory=dict)
    keep: int = Field(default=20, ge=1, le=1000)

    def which(self, name: str) -> str:
        """What follows the repository in a reference: ``@DIGEST``, or ``:TAG`` where no digest is given."""
        digest = self.digests.get(name)
        return f"@{digest}" if digest else f":{self.tag}"


class Storage(Section):
    """Buckets of data and artifacts. Old versions and intermediate files go after these days."""

    noncurrent_days: int = Field(default=30, ge=1)
    intermediate_days: int = Field(default=14, ge=1)


class Postgres(Section):
    """A PostgreSQL, whose password RDS makes and rotates in Secrets Manager: this program never sees it."""

    database_class: Annotated[str, StringConstraints(pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$")] = "db.t4g.micro"
    database_gib: int = Field(default=20, ge=20, le=1000)
    multi_az: bool = False
    backup_days: int = Field(default=7, ge=1, le=35)


class Tracking(Postgres):
    """MLflow: a PostgreSQL and the server on Fargate behind an internal load balancer."""

    size: FargateSize = FargateSize()
    servers: int = Field(default=1, ge=1, le=4)


class Ledger(Postgres):
    """What language models took and cost, as all tasks and pods of the ingress write it."""


class Scaled(Section):
    """Between how many of something there are."""

    least: int
    most: int

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least is {self.least}, expected at most `most`, which is {self.most}")
        return self


class Gpus(Scaled):
    """EC2 instances with GPUs, from none to ``most``."""

    instance_type: InstanceType = "g6.xlarge"
    least: int = Field(default=0, ge=0)
    most: int = Field(default=1, ge=1, le=50)
    disk_gib: int = Field(default=100, ge=30)
    spot: bool = False


class EcsGpus(Gpus):
    """``requests_per_task_and_minute``: by which its tasks scale; none: by as many as those on Fargate."""

    requests_per_task_and_minute: int | None = Field(default=None, ge=1)


class Replicas(Scaled):
    """Of an ECS service: between how many tasks, by requests per task and minute."""

    least: int = Field(default=1, ge=1)
    most: int = Field(default=2, ge=1, le=100)
    requests_per_task_and_minute: int = Field(default=20_000, ge=1)


class Ecs(Section):
    """The ingress on ECS: one Ray node a task, behind a public load balancer.

    ``certificate``: of ACM, for HTTPS. Without one there is no listener, since keys would cross in clear text.
    """

    certificate: Arn
    size: FargateSize = FargateSize(cpu=2048, memory=4096)
    tasks: Replicas = Replicas()
    gpus: EcsGpus | None = None
    allowed_cidrs: tuple[str, ...] = Field(default=("0.0.0.0/0",), strict=False, min_length=1)


class Nodes(Scaled):
    instance_type: InstanceType = "m7i.large"
    least: int = Field(default=1, ge=1)
    most: int = Field(default=3, ge=1, le=100)
    disk_gib: int = Field(default=50, ge=20)


class Eks(Section):
    """A Kubernetes cluster with KubeRay: where one machine is not enough.

    ``admins``: ARNs of the roles that may use it. ``public_cidrs``: from where its API can be reached; none:
    from within the network alone (Helm and the RayService are then applied from there).
    """

    version: Annotated[str, StringConstraints(pattern=r"^1\.[0-9]{2}$")] = "1.34"
    admins: tuple[Arn, ...] = Field(strict=False, min_length=1)
    public_cidrs: tuple[str, ...] = Field(default=(), strict=False)
    nodes: Nodes = Nodes()
    gpus: Gpus | None = None


class Function(Section):
    """One ONNX model on Lambda behind an HTTP API. ``model``: the version's folder in the artifacts bucket."""

    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9/._-]*$")]
    memory: int = Field(default=1024, ge=256, le=10_240)
    timeout_seconds: int = Field(default=15, ge=1, le=29)
    concurrency: int = Field(default=10, ge=1)
    requests_per_second: int = Field(default=50, ge=1)
    burst: int = Field(default=100, ge=1)


class Pipeline(Section):
    """From new data to a new version: Step Functions, EMR Serverless, training on Fargate.

    ``sources``: the tables of the view, and the columns without which a drop of them is refused. ``metric`` of the
    evaluation must reach ``at_least`` for a version to be registered. ``spark_vcpus``: one of EMR
    Serverless's sizes of a worker, since the feature job runs in its driver. ``spot``: training runs on spare
    capacity of Fargate, and again where AWS takes it back.
    """

    model: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    view: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
    sources: dict[str, list[str]] = Field(min_length=1)
    metric: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")] = "test_auc"
    at_least: float = 0.7
    training_size: FargateSize = FargateSize(cpu=4096, memory=16_384)
    spot: bool = True
    spark_vcpus: Literal[2, 4, 8, 16] = 16
    timeout_minutes: int = Field(default=180, ge=10)
    notify: Email | None = None


class Bedrock(Section):
    """``models`` and ``profiles``: ids of the foundation models and inference profiles that may be invoked.

    A profile's own models must be among ``models``; ``profile_regions`` are those that it may route to. ``regions``:
    of AWS that are asked beside the stack's own, which ``network.nat`` alone leads to. ``guardrails``: their ids.
    """

    models: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[A-Za-z0-9.:-]+$")], ...] = Field(
        strict=False, min_length=1
    )
    profiles: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z]{2,6}\.[a-z0-9-]+\.[A-Za-z0-9.:-]+$")], ...] = (
        Field(default=(), strict=False)
    )
    profile_regions: tuple[Region, ...] = Field(default=(), strict=False)
    regions: tuple[Region, ...] = Field(default=(), strict=False)
    guardrails: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+$")], ...] = Field(default=(), strict=False)


class OnlineStore(Section):
    """DynamoDB: one table, pay per request."""

    recovery: bool = True


class Operations(Section):
    """Who hears of what, and how much a month may cost. ``webhook_url`` is a secret of the stack's config."""

    email: Email
    monthly_budget_usd: int = Field(ge=1)
    log_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400] = 30
    p99_seconds: float = Field(default=1.0, gt=0)
    tokens_per_hour: int = Field(default=1_000_000, ge=1)


class Azure(Scaled):
    """The same image on Azure: Container Apps, scaled by requests, and one Container Instance for a single job.

    ``tracking_uri``: an MLflow that answers there; the one on AWS is inside its network. ``serving``: a file of its own
    in place of the stack's. ``operators``: the networks (CIDRs) from which keys are written to the vault, which refuses
    every other.
    """

    serving: str | None = Field(default=None, min_length=1)
    tracking_uri: Annotated[str, StringConstraints(pattern=r"^https://[^\s]+$")]
    operators: tuple[str, ...] = Field(default=(), strict=False)
    location: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+$")] = "westeurope"
    cpu: float = Field(default=1.0, ge=0.5, le=4, multiple_of=0.25)
    least: int = Field(default=0, ge=0)
    most: int = Field(default=3, ge=1, le=300)
    requests_per_replica: int = Field(default=50, ge=1)
    instance: bool = False
    log_days: int = Field(default=30, ge=30, le=730)


class StackSettings(Section):
    """``serving``: the file that the ingress of this stack gets, beside the ``Pulumi.yaml``."""

    owner: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ._@-]+$")]
    region: Region
    protect: bool = False
    serving: str = Field(default="serve.cloud.yaml", min_length=1)
    operations: Operations
    network: Network = Network()
    images: Images
    storage: Storage = Storage()
    tracking: Tracking | None = None
    ecs: Ecs | None = None
    eks: Eks | None = None
    function: Function | None = None
    pipeline: Pipeline | None = None
    online_store: OnlineStore | None = None
    bedrock: Bedrock | None = None
    ledger: Ledger | None = None
    azure: Azure | None = None

    @model_validator(mode="after")
    def _parts_have_what_they_need(self) -> Self:
        for part in ("ecs", "eks", "pipeline"):
            if getattr(self, part) is not None and self.tracking is None:
                raise ValueError(f"{part} is given and tracking is not: the model versions come from there")
        if self.ledger is not None and self.ecs is None and self.eks is None:
            raise ValueError("ledger is given and neither ecs nor eks is: nothing else writes to it")
        if self.eks is not None and not self.network.nat:
            raise ValueError("eks is given and network.nat is not true: KubeRay's images come from public registries")
        if self.pipeline is not None and self.online_store is None:
            raise ValueError("pipeline is given and online_store is not: it publishes the features there")
        return self


def from_config(config: Mapping[str, str], where: str) -> StackSettings:
    """Settings from Pulumi's configuration: ``project:key`` → JSON or plain text, as ``pulumi.Config`` has it.

    Raises:
        StackSettingsError: one line that names ``where``, the path in it, what was expected and what came.
    """
    document: dict[str, Any] = {}
    for key, value in config.items():
        namespace, _, name = key.partition(":")
        if namespace == "aws" and name == "region":
            document["region"] = value
        elif namespace == PROJECT and name not in SECRET_KEYS:
            document[name] = _parsed(value)
    return _checked(document, where)


def config_of(file: Path) -> dict[str, str]:
    """The configuration of a ``Pulumi.<stack>.yaml``, as Pulumi hands it to the program; no secrets.

    Raises:
        StackSettingsError: it can't be read.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise StackSettingsError(f"{file}: cannot be read ({reason}): run from the folder of Pulumi.yaml") from error
    except yaml.YAMLError as error:
        raise StackSettingsError(f"{file}: is not YAML: {one_line(str(error))}") from error
    found = document.get("config") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise StackSettingsError(f"{file}: expected a mapping under `config`")
    return {
        str(key): value if isinstance(value, str) else json.dumps(value)
        for key, value in found.items()
        if not (isinstance(value, dict) and set(value) == {"secure"})
    }


def read_settings(file: Path) -> StackSettings:
    """Read and check a ``Pulumi.<stack>.yaml``.

    Raises:
        StackSettingsError: one line that names the file, the path in it, what was expected and what came.
    """
    return from_config(config_of(file), str(file))


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _checked(document: dict[str, Any], where: str) -> StackSettings:
    try:
        return StackSettings.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            raise StackSettingsError(f"{where}: {path}: unknown key") from error
        if problem["type"] == "missing":
            raise StackSettingsError(f"{where}: {path}: is missing") from error
        shown = "" if isinstance(problem["input"], dict) else f", got {one_line(repr(problem['input']))[:60]}"
        raise StackSettingsError(f"{where}: {f'{path}: ' if path else ''}{message}{shown}") from error
