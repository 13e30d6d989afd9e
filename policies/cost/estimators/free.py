"""What costs nothing, and why."""

from __future__ import annotations

from collections.abc import Mapping

SETTING = "a setting of what is counted by itself"
PERMISSION = "permissions are free"
WITHIN = "its parts are counted"
ON_NODES = "runs on nodes that are counted"
NETWORK = "networks, routes and their rules are free; what passes a gateway is counted there"

FREE: Mapping[str, str] = {
    "aws:apigatewayv2/integration:Integration": SETTING,
    "aws:apigatewayv2/route:Route": SETTING,
    "aws:appautoscaling/policy:Policy": "scaling is free; its alarms too, where it makes them",
    "aws:appautoscaling/target:Target": SETTING,
    "aws:budgets/budget:Budget": "budgets without actions are free",
    "aws:cloudwatch/eventTarget:EventTarget": SETTING,
    "aws:costexplorer/anomalyMonitor:AnomalyMonitor": "the detection of anomalies is free",
    "aws:costexplorer/anomalySubscription:AnomalySubscription": "the detection of anomalies is free",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": NETWORK,
    "aws:ec2/flowLog:FlowLog": "its log group is counted",
    "aws:ec2/internetGateway:InternetGateway": NETWORK,
    "aws:ec2/launchTemplate:LaunchTemplate": "the instances made of it are counted",
    "aws:ec2/route:Route": NETWORK,
    "aws:ec2/routeTable:RouteTable": NETWORK,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": NETWORK,
    "aws:ec2/securityGroup:SecurityGroup": NETWORK,
    "aws:ec2/subnet:Subnet": NETWORK,
    "aws:ec2/vpc:Vpc": NETWORK,
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": SETTING,
    "aws:ecr/repositoryPolicy:RepositoryPolicy": PERMISSION,
    "aws:ecs/capacityProvider:CapacityProvider": "its instances are counted",
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": SETTING,
    "aws:eks/accessEntry:AccessEntry": PERMISSION,
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": PERMISSION,
    "aws:eks/addon:Addon": ON_NODES,
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": PERMISSION,
    "aws:iam/*": PERMISSION,
    "aws:kms/alias:Alias": "a name of a key, which is counted",
    "aws:lambda/alias:Alias": "a name of a version",
    "aws:lambda/permission:Permission": PERMISSION,
    "aws:lb/listener:Listener": SETTING,
    "aws:lb/listenerRule:ListenerRule": SETTING,
    "aws:lb/targetGroup:TargetGroup": SETTING,
    "aws:rds/parameterGroup:ParameterGroup": SETTING,
    "aws:rds/subnetGroup:SubnetGroup": SETTING,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": SETTING,
    "aws:s3/bucketLogging:BucketLogging": SETTING,
    "aws:s3/bucketNotification:BucketNotification": SETTING,
    "aws:s3/bucketObjectv2:BucketObjectv2": "a file of a few KB",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": SETTING,
    "aws:s3/bucketPolicy:BucketPolicy": PERMISSION,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": PERMISSION,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": SETTING,
    "aws:s3/bucketVersioning:BucketVersioning": SETTING,
    "aws:secretsmanager/secretRotation:SecretRotation": "the calls of its function are the few of a rotation",
    "aws:secretsmanager/secretVersion:SecretVersion": "its secret is counted",
    "aws:sns/topicPolicy:TopicPolicy": PERMISSION,
    "aws:sqs/queuePolicy:QueuePolicy": PERMISSION,
    "azure-native:authorization:RoleAssignment": PERMISSION,
    "azure-native:keyvault:Secret": "operations of its vault are counted",
    "azure-native:managedidentity:UserAssignedIdentity": PERMISSION,
    "azure-native:monitor:DiagnosticSetting": "its workspace is counted",
    "azure-native:network:NetworkSecurityGroup": NETWORK,
    "azure-native:network:VirtualNetwork": NETWORK,
    "azure-native:resources:ResourceGroup": WITHIN,
    "kubernetes:core/v1:Namespace": ON_NODES,
    "kubernetes:core/v1:ServiceAccount": ON_NODES,
    "kubernetes:helm.sh/v3:Release": ON_NODES,
    "kubernetes:networking.k8s.io/v1:NetworkPolicy": ON_NODES,
    "kubernetes:ray.io/v1:RayService": ON_NODES,
    "ml:*": WITHIN,
    "pulumi:*": "Pulumi's own",
}
"""A type, which may end with ``*`` → the reason."""
