"""What a cloud would answer, in its own shape: ids, ARNs and data sources that rules can read."""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra.check.record import Made
from infra.check.sdk import is_optional, is_output_class, outputs_of, properties_of, required

ACCOUNT = "123456789012"

ARNS = {
    "aws:acm/certificate:Certificate": "arn:aws:acm:{region}:{account}:certificate/{uuid}",
    "aws:lb/loadBalancer:LoadBalancer": (
        "arn:aws:elasticloadbalancing:{region}:{account}:loadbalancer/app/{name}/{hash}"
    ),
    "aws:lb/targetGroup:TargetGroup": "arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/{name}/{hash}",
    "aws:lb/listener:Listener": "arn:aws:elasticloadbalancing:{region}:{account}:listener/app/{name}/{hash}/{hash}",
    "aws:apigatewayv2/api:Api": "arn:aws:apigateway:{region}::/apis/{hash}",
    "aws:appautoscaling/target:Target": "arn:aws:application-autoscaling:{region}:{account}:scalable-target/{hash}",
    "aws:autoscaling/group:Group": (
        "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{uuid}:autoScalingGroupName/{name}"
    ),
    "aws:cloudwatch/eventRule:EventRule": "arn:aws:events:{region}:{account}:rule/{name}",
    "aws:cloudwatch/logGroup:LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "aws:dynamodb/table:Table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "aws:ec2/launchTemplate:LaunchTemplate": "arn:aws:ec2:{region}:{account}:launch-template/lt-{hash}",
    "aws:ec2/securityGroup:SecurityGroup": "arn:aws:ec2:{region}:{account}:security-group/sg-{hash}",
    "aws:ec2/subnet:Subnet": "arn:aws:ec2:{region}:{account}:subnet/subnet-{hash}",
    "aws:ec2/vpc:Vpc": "arn:aws:ec2:{region}:{account}:vpc/vpc-{hash}",
    "aws:ecr/repository:Repository": "arn:aws:ecr:{region}:{account}:repository/{name}",
    "aws:ecs/capacityProvider:CapacityProvider": "arn:aws:ecs:{region}:{account}:capacity-provider/{name}",
    "aws:ecs/cluster:Cluster": "arn:aws:ecs:{region}:{account}:cluster/{name}",
    "aws:ecs/service:Service": "arn:aws:ecs:{region}:{account}:service/{name}/{name}",
    "aws:ecs/taskDefinition:TaskDefinition": "arn:aws:ecs:{region}:{account}:task-definition/{name}:1",
    "aws:eks/cluster:Cluster": "arn:aws:eks:{region}:{account}:cluster/{name}",
    "aws:emrserverless/application:Application": "arn:aws:emr-serverless:{region}:{account}:/applications/{hash}",
    "aws:iam/instanceProfile:InstanceProfile": "arn:aws:iam::{account}:instance-profile/{name}",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "arn:aws:iam::{account}:oidc-provider/{name}",
    "aws:iam/policy:Policy": "arn:aws:iam::{account}:policy/{name}",
    "aws:iam/role:Role": "arn:aws:iam::{account}:role/{name}",
    "aws:kms/alias:Alias": "arn:aws:kms:{region}:{account}:{name}",
    "aws:kms/key:Key": "arn:aws:kms:{region}:{account}:key/{uuid}",
    "aws:lambda/function:Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "aws:rds/instance:Instance": "arn:aws:rds:{region}:{account}:db:{name}",
    "aws:s3/bucket:Bucket": "arn:aws:s3:::{name}",
    "aws:secretsmanager/secret:Secret": "arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf",
    "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": (
        "arn:aws:servicediscovery:{region}:{account}:namespace/ns-{hash}"
    ),
    "aws:sfn/stateMachine:StateMachine": "arn:aws:states:{region}:{account}:stateMachine:{name}",
    "aws:sns/topic:Topic": "arn:aws:sns:{region}:{account}:{name}",
    "aws:sqs/queue:Queue": "arn:aws:sqs:{region}:{account}:{name}",
}
"""Type → the ARN that policies are held against."""

IDS = {
    "aws:s3/bucket:Bucket": "{name}",
    "aws:ec2/vpc:Vpc": "vpc-{hash}",
    "aws:ec2/subnet:Subnet": "subnet-{hash}",
    "aws:ec2/securityGroup:SecurityGroup": "sg-{hash}",
    "aws:ec2/routeTable:RouteTable": "rtb-{hash}",
    "aws:ec2/internetGateway:InternetGateway": "igw-{hash}",
    "aws:ec2/launchTemplate:LaunchTemplate": "lt-{hash}",
    "aws:apigatewayv2/api:Api": "{hash}",
    "aws:kms/key:Key": "{uuid}",
}
"""Where it is not the name. What has an ARN for its id is listed by :data:`ID_IS_ARN`."""

ID_IS_ARN = frozenset(
    {
        "aws:sns/topic:Topic",
        "aws:secretsmanager/secret:Secret",
        "aws:lb/loadBalancer:LoadBalancer",
        "aws:lb/targetGroup:TargetGroup",
        "aws:lb/listener:Listener",
        "aws:ecs/cluster:Cluster",
        "aws:sfn/stateMachine:StateMachine",
        "aws:iam/policy:Policy",
    }
)

NAMES = (
    "name",
    "bucket",
    "family",
    "identifier",
    "functionName",
    "dashboardName",
    "alarmName",
    "clusterName",
    "repositoryName",
    "resourceName",
)
"""Inputs that name a resource, the first that is given."""

DEEPEST = 3
"""Levels of nested outputs that get values."""

SPECIAL: dict[str, Callable[[str, str], str]] = {
    "repositoryUrl": lambda name, region: f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com/{name}",
    "dnsName": lambda name, region: f"{name}.{region}.elb.amazonaws.com",
    "apiEndpoint": lambda name, region: f"https://{name}.execute-api.{region}.amazonaws.com",
    "endpoint": lambda name, region: f"https://{name}.{region}.example.internal",
    "address": lambda name, region: f"{name}.{region}.rds.amazonaws.com",
    "url": lambda name, region: f"https://sqs.{region}.amazonaws.com/{ACCOUNT}/{name}",
    "executionArn": lambda name, region: f"arn:aws:execute-api:{region}:{ACCOUNT}:{_digest(name)}",
    "invokeArn": lambda name, region: (
        f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/"
        f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}/invocations"
    ),
    "secretArn": lambda name, region: f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{name}-AbCdEf",
    "data": lambda *_: "LS0tLS1CRUdJTg==",
}
"""Property → what it looks like."""


class Placeholders:
    """Ids and ARNs in the account ``123456789012``."""

    def __init__(self, region: str) -> None:
        self._region = region

    def made(self, made: Made) -> tuple[str, dict[str, Any]]:
        name = str(next((made.inputs[each] for each in NAMES if isinstance(made.inputs.get(each), str)), made.name))
        values = {
            "region": self._region,
            "account": ACCOUNT,
            "name": name,
            "hash": _digest(made.type + made.name),
            "uuid": f"{_digest(made.name)[:8]}-0000-4000-8000-{_digest(made.type)[:12]}",
        }
        arn = self._arn(made.type, values)
        state = {
            key: self._value(type_, key, name, 0)
            for key, type_ in outputs_of(made.class_)
            # A block that was given has members that the cloud adds.
            if not is_optional(type_) and (key not in made.inputs or isinstance(made.inputs[key], dict))
        }
        id_ = arn if made.type in ID_IS_ARN else IDS.get(made.type, "{name}").format(**values)
        for key, value in (("arn", arn), ("id", id_)):
            if key in state:
                state[key] = value
        if "arnSuffix" in state:
            state["arnSuffix"] = arn.rpartition(":")[2].removeprefix("loadbalancer/")
        if "keyId" in state and made.type == "aws:kms/key:Key":
            state["keyId"] = id_
        return id_, state

    def _arn(self, type_: str, values: Mapping[str, str]) -> str:
        if type_ in ARNS:
            return ARNS[type_].format(**values)
        service = type_.split(":")[1].split("/")[0] if ":" in type_ else "unknown"
        return "arn:aws:{service}:{region}:{account}:{name}".format(service=service, **values)

    def _value(self, type_: Any, key: str, name: str, depth: int) -> Any:
        if type_ is str:
            if key in SPECIAL:
                return SPECIAL[key](name, self._region)
            if key.lower().endswith("arn"):
                return f"arn:aws:iam::{ACCOUNT}:role/{name}"
            return name if key == "name" else f"{name}-{key}"
        if type_ in (int, float, bool):
            return type_()
        if typing.get_origin(type_) in (list, Sequence):
            return [self._value(typing.get_args(type_)[0], key, name, depth + 1)] if depth < DEEPEST else []
        if is_output_class(type_) and depth < DEEPEST:
            return {each: self._value(required(of), each, name, depth + 1) for each, of in properties_of(type_)}
        return {}

    def call(self, token: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if token not in ANSWERS:
            raise LookupError(f"{token}: the check has no answer for this data source: add it to {__name__}.ANSWERS")
        return ANSWERS[token](args, self._region)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:17]


Answer = Callable[[Mapping[str, Any], str], dict[str, Any]]

ANSWERS: dict[str, Answer] = {
    "aws:index/getCallerIdentity:getCallerIdentity": lambda _, __: {
        "accountId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/check",
        "userId": "AIDACKCEVSQ6C2EXAMPLE",
        "id": ACCOUNT,
    },
    "aws:index/getRegion:getRegion": lambda _, region: {
        "name": region,
        "region": region,
        "id": region,
        "description": region,
        "endpoint": f"ec2.{region}.amazonaws.com",
    },
    "aws:index/getPartition:getPartition": lambda _, __: {
        "partition": "aws",
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
        "id": "aws",
    },
    "aws:index/getAvailabilityZones:getAvailabilityZones": lambda args, region: {
        **args,
        "names": [f"{region}{letter}" for letter in "abc"],
        "zoneIds": [f"zone-{number}" for number in (1, 2, 3)],
        "groupNames": [region],
        "id": region,
    },
    "aws:ssm/getParameter:getParameter": lambda args, region: {
        **args,
        # moto's own image, so that an instance could start from it there.
        "value": "ami-12c6146b",
        "insecureValue": "ami-12c6146b",
        "type": "String",
        "version": 1,
        "arn": f"arn:aws:ssm:{region}::parameter{args.get('name', '')}",
        "id": args.get("name", ""),
    },
    "aws:ec2/getAmi:getAmi": lambda args, region: {
        **args,
        "id": "ami-12c6146b",
        "imageId": "ami-12c6146b",
        "arn": f"arn:aws:ec2:{region}::image/ami-12c6146b",
        "architecture": "x86_64",
    },
    "aws:ec2/getPrefixList:getPrefixList": lambda args, _: {
        **args,
        "id": "pl-63a5400a",
        "prefixListId": "pl-63a5400a",
        "cidrBlocks": ["52.216.0.0/15"],
    },
    "aws:ec2/getManagedPrefixList:getManagedPrefixList": lambda args, _: {**args, "id": "pl-63a5400a"},
    "aws:elb/getServiceAccount:getServiceAccount": lambda args, _: {
        **args,
        "id": "127311923021",
        "arn": "arn:aws:iam::127311923021:root",
    },
    "azure-native:authorization:getClientConfig": lambda _, __: dict.fromkeys(
        ("clientId", "objectId", "subscriptionId", "tenantId"), "00000000-0000-4000-8000-000000000000"
    ),
}
"""Data source → what it answers to (arguments, region)."""
