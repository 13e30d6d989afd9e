"""How much of what each type of resource is billed for. To add a type: its function, and its line here."""

from __future__ import annotations

from collections.abc import Mapping

from policies.cost.charge import Estimator
from policies.cost.estimators import azure, containers, database, functions, instances, keys, network, storage, watching
from policies.cost.estimators.free import FREE

ESTIMATORS: Mapping[str, Estimator] = {
    "aws:apigatewayv2/api:Api": functions.http_api,
    "aws:apigatewayv2/stage:Stage": functions.stage,
    "aws:autoscaling/group:Group": instances.group,
    "aws:cloudwatch/dashboard:Dashboard": watching.dashboard,
    "aws:cloudwatch/eventRule:EventRule": watching.event_rule,
    "aws:cloudwatch/logGroup:LogGroup": watching.log_group,
    "aws:cloudwatch/metricAlarm:MetricAlarm": watching.alarm,
    "aws:dynamodb/table:Table": storage.table,
    "aws:ec2/eip:Eip": network.address,
    "aws:ec2/natGateway:NatGateway": network.nat,
    "aws:ec2/vpcEndpoint:VpcEndpoint": network.endpoint,
    "aws:ecr/repository:Repository": storage.repository,
    "aws:ecs/cluster:Cluster": containers.cluster,
    "aws:ecs/service:Service": containers.service,
    "aws:ecs/taskDefinition:TaskDefinition": containers.job,
    "aws:eks/cluster:Cluster": instances.kubernetes,
    "aws:eks/nodeGroup:NodeGroup": instances.nodes,
    "aws:emrserverless/application:Application": functions.spark,
    "aws:kms/key:Key": keys.key,
    "aws:lambda/function:Function": functions.function,
    "aws:lb/loadBalancer:LoadBalancer": network.load_balancer,
    "aws:rds/instance:Instance": database.instance,
    "aws:s3/bucket:Bucket": storage.bucket,
    "aws:secretsmanager/secret:Secret": keys.secret,
    "aws:sfn/stateMachine:StateMachine": functions.state_machine,
    "aws:sns/topic:Topic": watching.topic,
    "aws:sns/topicSubscription:TopicSubscription": watching.subscription,
    "aws:sqs/queue:Queue": watching.queue,
    "azure-native:app:ContainerApp": azure.app,
    "azure-native:app:ManagedEnvironment": azure.environment,
    "azure-native:containerinstance:ContainerGroup": azure.instance,
    "azure-native:containerregistry:Registry": azure.registry,
    "azure-native:keyvault:Vault": azure.vault,
    "azure-native:operationalinsights:Workspace": azure.workspace,
    "kubernetes:core/v1:PersistentVolumeClaim": instances.by_the_cluster,
    "kubernetes:core/v1:Service": instances.service,
}
"""By type."""

__all__ = ["ESTIMATORS", "FREE"]
