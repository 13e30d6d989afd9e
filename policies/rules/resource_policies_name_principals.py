"""``resource-policies-name-principals``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policies.node import Node
from policies.reading.buckets import BUCKETS
from policies.reading.iam import documents
from policies.reading.statement import NARROW, is_everybody, narrowed_by, principals
from policies.rule import Resource, Severity, Violation, rule

PERMISSION = "aws:lambda/permission:Permission"


@rule(
    "resource-policies-name-principals",
    "aws:backup/vaultPolicy:VaultPolicy",
    "aws:cloudwatch/eventBusPolicy:EventBusPolicy",
    "aws:dynamodb/resourcePolicy:ResourcePolicy",
    "aws:ecr/registryPolicy:RegistryPolicy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy",
    "aws:efs/fileSystemPolicy:FileSystemPolicy",
    "aws:kms/key:Key",
    "aws:kms/keyPolicy:KeyPolicy",
    PERMISSION,
    *BUCKETS,
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:secretsmanager/secret:Secret",
    "aws:secretsmanager/secretPolicy:SecretPolicy",
    "aws:sns/topic:Topic",
    "aws:sns/topicPolicy:TopicPolicy",
    "aws:sqs/queue:Queue",
    "aws:sqs/queuePolicy:QueuePolicy",
    group="public access",
    severity=Severity.CRITICAL,
    remedy="Statement(..., principals={'Service': ['events.amazonaws.com']}, "
    "conditions={'StringEquals': {'aws:SourceAccount': account.id}})",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html",
)
def resource_policies_name_principals(resource: Resource) -> Iterable[Violation]:
    """A resource's own policy allows nothing to everybody, but within an account, an organisation or a VPC."""
    if resource.type == PERMISSION:
        yield from _of_permission(resource)
    for document in documents(resource):
        for statement in document.allowed():
            yield from _of(statement)


def _of(statement: Node) -> Iterator[Violation]:
    if "NotPrincipal" in statement.value:
        yield statement.violation("NotPrincipal", "who is allowed, not who isn't", statement.get("NotPrincipal"))
    wide = [f"{kind}: {name}" for kind, name in principals(statement) if is_everybody(name)]
    if wide and not narrowed_by(statement, NARROW):
        yield statement.violation("Principal", "names, or a condition on an account, organisation or VPC", wide[0])


def _of_permission(permission: Resource) -> Iterator[Violation]:
    """A statement of a function's policy, in the properties of a resource."""
    principal = permission.get("principal")
    if not is_everybody(str(principal)):
        return
    keys = {
        "aws:PrincipalOrgID": permission.get("principalOrgId"),
        "aws:SourceAccount": permission.get("sourceAccount"),
        "aws:SourceArn": permission.get("sourceArn"),
    }
    statement = Node({"Condition": {"StringLike": {key: each for key, each in keys.items() if each is not None}}})
    if not narrowed_by(statement, NARROW):
        yield permission.violation("principal", "a service or an account, or a source of one", principal)
