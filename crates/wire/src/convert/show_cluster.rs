//! A cluster as CreateCluster, DescribeClusters and DeleteCluster show it.

use super::show_container::int;
use super::show_task::show_tags;
use crate::shapes::capacity_provider::CapacityProviderStrategyItem;
use crate::shapes::cluster as wire;
use crate::shapes::container_definition::KeyValuePair;
use crate::shapes::execute_command as exec;
use windlass_model::arn::Scope;
use windlass_model::cluster::{
    Cluster, ClusterConfiguration, ClusterStatus, ContainerInsights, ExecuteCommandConfiguration,
    StrategyItem,
};

/// Counts that the record shows; those by launch type are its statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterCounts {
    pub registered_instances: u32,
    pub running_ec2: u32,
    pub running_fargate: u32,
    pub running_external: u32,
    pub pending_ec2: u32,
    pub pending_fargate: u32,
    pub pending_external: u32,
}

/// What is shown beside the members that always are: each by its `include`, but for `described`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterParts {
    /// The answer is DescribeClusters', which lists a cluster's attachments.
    pub described: bool,
    pub configurations: bool,
    pub settings: bool,
    pub statistics: bool,
    pub tags: bool,
}

impl ClusterParts {
    /// As CreateCluster answers.
    pub const CREATED: ClusterParts = ClusterParts {
        described: false,
        configurations: true,
        settings: true,
        statistics: false,
        tags: true,
    };
}

pub fn show_cluster(
    scope: &Scope,
    cluster: &Cluster,
    counts: &ClusterCounts,
    parts: ClusterParts,
) -> wire::Cluster {
    let running = counts.running_ec2 + counts.running_fargate + counts.running_external;
    let pending = counts.pending_ec2 + counts.pending_fargate + counts.pending_external;
    wire::Cluster {
        cluster_arn: Some(scope.cluster(&cluster.name)),
        cluster_name: Some(cluster.name.to_string()),
        configuration: cluster
            .configuration
            .as_ref()
            .filter(|_| parts.configurations)
            .map(configuration),
        status: Some(
            match cluster.status {
                ClusterStatus::Active => "ACTIVE",
                ClusterStatus::Inactive => "INACTIVE",
            }
            .into(),
        ),
        registered_container_instances_count: Some(int(counts.registered_instances)),
        running_tasks_count: Some(int(running)),
        pending_tasks_count: Some(int(pending)),
        active_services_count: Some(0),
        statistics: Some(if parts.statistics {
            statistics(counts)
        } else {
            Vec::new()
        }),
        tags: Some(if parts.tags {
            show_tags(&cluster.tags)
        } else {
            Vec::new()
        }),
        settings: Some(if parts.settings {
            settings(cluster)
        } else {
            Vec::new()
        }),
        capacity_providers: Some(cluster.capacity_providers.clone()),
        default_capacity_provider_strategy: Some(
            cluster
                .default_strategy
                .iter()
                .map(show_strategy_item)
                .collect(),
        ),
        // Only providers of Auto Scaling groups attach something.
        attachments: parts.described.then(Vec::new),
        attachments_status: None,
        service_connect_defaults: cluster.namespace.as_ref().map(|namespace| {
            wire::ClusterServiceConnectDefaults {
                namespace: Some(namespace.clone()),
            }
        }),
    }
}

fn show_strategy_item(item: &StrategyItem) -> CapacityProviderStrategyItem {
    CapacityProviderStrategyItem {
        capacity_provider: Some(item.provider.clone()),
        weight: Some(int(item.weight)),
        base: Some(int(item.base)),
    }
}

fn settings(cluster: &Cluster) -> Vec<wire::ClusterSetting> {
    let value = match cluster.container_insights {
        ContainerInsights::Disabled => "disabled",
        ContainerInsights::Enabled => "enabled",
        ContainerInsights::Enhanced => "enhanced",
    };
    vec![wire::ClusterSetting {
        name: Some(wire::ClusterSettingName::ContainerInsights),
        value: Some(value.into()),
    }]
}

fn statistics(counts: &ClusterCounts) -> Vec<KeyValuePair> {
    let figures = [
        ("runningEC2TasksCount", counts.running_ec2),
        ("runningFargateTasksCount", counts.running_fargate),
        ("pendingEC2TasksCount", counts.pending_ec2),
        ("pendingFargateTasksCount", counts.pending_fargate),
        ("runningExternalTasksCount", counts.running_external),
        ("pendingExternalTasksCount", counts.pending_external),
        ("activeEC2ServiceCount", 0),
        ("activeFargateServiceCount", 0),
        ("activeExternalServiceCount", 0),
        ("drainingEC2ServiceCount", 0),
        ("drainingFargateServiceCount", 0),
        ("drainingExternalServiceCount", 0),
    ];
    figures
        .into_iter()
        .map(|(name, value)| KeyValuePair {
            name: Some(name.into()),
            value: Some(value.to_string()),
        })
        .collect()
}

fn configuration(given: &ClusterConfiguration) -> wire::ClusterConfiguration {
    wire::ClusterConfiguration {
        execute_command_configuration: given.execute_command.as_ref().map(execute_command),
        managed_storage_configuration: given.storage.as_ref().map(|storage| {
            wire::ManagedStorageConfiguration {
                kms_key_id: storage.kms_key_id.clone(),
                fargate_ephemeral_storage_kms_key_id: storage
                    .fargate_ephemeral_storage_kms_key_id
                    .clone(),
            }
        }),
    }
}

fn execute_command(given: &ExecuteCommandConfiguration) -> exec::ExecuteCommandConfiguration {
    exec::ExecuteCommandConfiguration {
        kms_key_id: given.kms_key_id.clone(),
        logging: given.logging.as_deref().map(Into::into),
        log_configuration: given
            .log
            .as_ref()
            .map(|log| exec::ExecuteCommandLogConfiguration {
                cloud_watch_log_group_name: log.cloud_watch_log_group_name.clone(),
                cloud_watch_encryption_enabled: log.cloud_watch_encryption_enabled,
                s3_bucket_name: log.s3_bucket_name.clone(),
                s3_encryption_enabled: log.s3_encryption_enabled,
                s3_key_prefix: log.s3_key_prefix.clone(),
            }),
    }
}
