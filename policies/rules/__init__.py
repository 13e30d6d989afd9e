"""The rules, one a file. To add one: its file, and its line here."""

from __future__ import annotations

from collections.abc import Mapping

from policies.rule import Rule
from policies.rules.alarms_tell import alarms_tell
from policies.rules.api_throttled import api_throttled
from policies.rules.autoscaling_bounded import autoscaling_bounded
from policies.rules.azure_containers_not_open import azure_containers_not_open
from policies.rules.azure_ingress_refuses_plain_http import azure_ingress_refuses_plain_http
from policies.rules.azure_registry_not_open import azure_registry_not_open
from policies.rules.azure_security_groups_not_open import azure_security_groups_not_open
from policies.rules.azure_vault_not_open import azure_vault_not_open
from policies.rules.backups_kept import backups_kept
from policies.rules.bedrock_models_listed import bedrock_models_listed
from policies.rules.buckets_refuse_plain_http import buckets_refuse_plain_http
from policies.rules.buckets_versioned import buckets_versioned
from policies.rules.budget_given import budget_given
from policies.rules.containers_not_root import containers_not_root
from policies.rules.cors_names_origins import cors_names_origins
from policies.rules.data_protected import data_protected
from policies.rules.database_password_managed import database_password_managed
from policies.rules.disks_encrypted import disks_encrypted
from policies.rules.dynamodb_encrypted import dynamodb_encrypted
from policies.rules.ecr_encrypted_with_kms import ecr_encrypted_with_kms
from policies.rules.ecr_expires_images import ecr_expires_images
from policies.rules.ecr_scans_on_push import ecr_scans_on_push
from policies.rules.ecr_tags_immutable import ecr_tags_immutable
from policies.rules.eks_endpoint_not_open import eks_endpoint_not_open
from policies.rules.eks_secrets_encrypted import eks_secrets_encrypted
from policies.rules.event_targets_have_dead_letters import event_targets_have_dead_letters
from policies.rules.fargate_sizes import fargate_sizes
from policies.rules.gpu_nodes_bounded import gpu_nodes_bounded
from policies.rules.gpus_allowed import gpus_allowed
from policies.rules.iam_no_wildcards import iam_no_wildcards
from policies.rules.iam_pass_role_limited import iam_pass_role_limited
from policies.rules.iam_statement_keys import iam_statement_keys
from policies.rules.iam_trust_has_conditions import iam_trust_has_conditions
from policies.rules.images_pinned import images_pinned
from policies.rules.instance_types_known import instance_types_known
from policies.rules.instances_guard_metadata import instances_guard_metadata
from policies.rules.kms_keys_rotate import kms_keys_rotate
from policies.rules.lambda_urls_not_open import lambda_urls_not_open
from policies.rules.lambdas_have_dead_letters import lambdas_have_dead_letters
from policies.rules.lambdas_reserve_concurrency import lambdas_reserve_concurrency
from policies.rules.lambdas_time_out import lambdas_time_out
from policies.rules.lambdas_traced import lambdas_traced
from policies.rules.load_balancers_drop_invalid_headers import load_balancers_drop_invalid_headers
from policies.rules.load_balancers_speak_tls import load_balancers_speak_tls
from policies.rules.log_groups_encrypted import log_groups_encrypted
from policies.rules.logs_end import logs_end
from policies.rules.machines_watched import machines_watched
from policies.rules.monthly_cost_within_budget import monthly_cost_within_budget
from policies.rules.multi_zone import multi_zone
from policies.rules.names_accepted import names_accepted
from policies.rules.network_logs_refusals import network_logs_refusals
from policies.rules.no_administrator_policies import no_administrator_policies
from policies.rules.no_long_lived_keys import no_long_lived_keys
from policies.rules.no_plain_environment_secrets import no_plain_environment_secrets
from policies.rules.queues_end_in_dead_letters import queues_end_in_dead_letters
from policies.rules.rds_encrypted import rds_encrypted
from policies.rules.rds_forces_ssl import rds_forces_ssl
from policies.rules.rds_not_public import rds_not_public
from policies.rules.resource_policies_name_principals import resource_policies_name_principals
from policies.rules.s3_blocks_public_access import s3_blocks_public_access
from policies.rules.s3_encrypted_with_kms import s3_encrypted_with_kms
from policies.rules.secrets_encrypted_with_kms import secrets_encrypted_with_kms
from policies.rules.security_groups_not_open import security_groups_not_open
from policies.rules.services_fit import services_fit
from policies.rules.services_roll_back import services_roll_back
from policies.rules.sns_encrypted import sns_encrypted
from policies.rules.sqs_encrypted import sqs_encrypted
from policies.rules.states_bounded import states_bounded
from policies.rules.states_flow import states_flow
from policies.rules.tags_given import tags_given
from policies.rules.targets_checked import targets_checked
from policies.rules.training_on_spot import training_on_spot

RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        alarms_tell,
        api_throttled,
        autoscaling_bounded,
        azure_containers_not_open,
        azure_ingress_refuses_plain_http,
        azure_registry_not_open,
        azure_security_groups_not_open,
        azure_vault_not_open,
        backups_kept,
        bedrock_models_listed,
        buckets_refuse_plain_http,
        buckets_versioned,
        budget_given,
        containers_not_root,
        cors_names_origins,
        data_protected,
        database_password_managed,
        disks_encrypted,
        dynamodb_encrypted,
        ecr_encrypted_with_kms,
        ecr_expires_images,
        ecr_scans_on_push,
        ecr_tags_immutable,
        eks_endpoint_not_open,
        eks_secrets_encrypted,
        event_targets_have_dead_letters,
        fargate_sizes,
        gpu_nodes_bounded,
        gpus_allowed,
        iam_no_wildcards,
        iam_pass_role_limited,
        iam_statement_keys,
        iam_trust_has_conditions,
        images_pinned,
        instance_types_known,
        instances_guard_metadata,
        kms_keys_rotate,
        lambda_urls_not_open,
        lambdas_have_dead_letters,
        lambdas_reserve_concurrency,
        lambdas_time_out,
        lambdas_traced,
        load_balancers_drop_invalid_headers,
        load_balancers_speak_tls,
        log_groups_encrypted,
        logs_end,
        machines_watched,
        monthly_cost_within_budget,
        multi_zone,
        names_accepted,
        network_logs_refusals,
        no_administrator_policies,
        no_long_lived_keys,
        no_plain_environment_secrets,
        queues_end_in_dead_letters,
        rds_encrypted,
        rds_forces_ssl,
        rds_not_public,
        resource_policies_name_principals,
        s3_blocks_public_access,
        s3_encrypted_with_kms,
        secrets_encrypted_with_kms,
        security_groups_not_open,
        services_fit,
        services_roll_back,
        sns_encrypted,
        sqs_encrypted,
        states_bounded,
        states_flow,
        tags_given,
        targets_checked,
        training_on_spot,
    )
}
"""By name."""
