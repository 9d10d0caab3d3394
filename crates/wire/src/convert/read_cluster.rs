//! CreateCluster's request.

use super::identifier::DEFAULT_CLUSTER;
use super::read_run::strategy;
use super::read_tags::tags;
use crate::error::ApiError;
use crate::ops::create_cluster::CreateClusterRequest;
use crate::shapes::cluster as wire;
use windlass_model::cluster::{
    ClusterConfiguration, ContainerInsights, ExecuteCommandConfiguration, ExecuteCommandLog,
    ManagedStorage,
};
use windlass_model::command::CreateCluster;
use windlass_model::id::Name;

/// Capacity providers that exist everywhere.
pub(super) const FARGATE_PROVIDERS: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

/// Decodes and validates a CreateCluster.
///
/// # Errors
/// `InvalidParameterException` for a bad name, setting or provider.
pub fn create_cluster(given: CreateClusterRequest) -> Result<CreateCluster, ApiError> {
    let name = given.cluster_name.filter(|name| !name.is_empty());
    let name = Name::new(name.as_deref().unwrap_or(DEFAULT_CLUSTER)).map_err(|_| {
        ApiError::invalid_parameter(
            "Cluster name should only contain letters, digits, hyphens and underscores, 1 to 255 \
             of them.",
        )
    })?;
    let capacity_providers = given.capacity_providers.unwrap_or_default();
    for provider in &capacity_providers {
        if !FARGATE_PROVIDERS.contains(&provider.as_str()) {
            return Err(ApiError::invalid_parameter(format!(
                "The specified capacity provider does not exist: {provider}. Specify FARGATE or \
                 FARGATE_SPOT."
            )));
        }
    }
    let default_strategy = strategy(given.default_capacity_provider_strategy)?;
    for item in &default_strategy {
        if !capacity_providers.contains(&item.provider) {
            return Err(ApiError::invalid_parameter(format!(
                "The default capacity provider strategy names {}, which is not among the \
                 cluster's capacity providers.",
                item.provider
            )));
        }
    }
    Ok(CreateCluster {
        name,
        tags: tags(given.tags)?,
        container_insights: container_insights(given.settings)?,
        configuration: given.configuration.map(configuration),
        capacity_providers,
        default_strategy,
        namespace: given
            .service_connect_defaults
            .and_then(|defaults| defaults.namespace),
    })
}

fn container_insights(
    settings: Option<Vec<wire::ClusterSetting>>,
) -> Result<ContainerInsights, ApiError> {
    let mut insights = ContainerInsights::default();
    for setting in settings.unwrap_or_default() {
        let name = setting
            .name
            .unwrap_or_else(|| wire::ClusterSettingName::Other("".into()));
        if name != wire::ClusterSettingName::ContainerInsights {
            return Err(ApiError::invalid_parameter(format!(
                "Invalid setting name: {}. The only cluster setting is containerInsights.",
                name.as_str()
            )));
        }
        insights = match setting.value.as_deref() {
            Some("enabled") => ContainerInsights::Enabled,
            Some("enhanced") => ContainerInsights::Enhanced,
            Some("disabled") => ContainerInsights::Disabled,
            other => {
                return Err(ApiError::invalid_parameter(format!(
                    "Invalid value of containerInsights: {}. It should be one of [enabled, \
                     enhanced, disabled].",
                    other.unwrap_or("")
                )));
            }
        };
    }
    Ok(insights)
}

fn configuration(given: wire::ClusterConfiguration) -> ClusterConfiguration {
    ClusterConfiguration {
        execute_command: given.execute_command_configuration.map(|given| {
            ExecuteCommandConfiguration {
                kms_key_id: given.kms_key_id,
                logging: given.logging.map(|logging| logging.as_str().to_owned()),
                log: given.log_configuration.map(|log| ExecuteCommandLog {
                    cloud_watch_log_group_name: log.cloud_watch_log_group_name,
                    cloud_watch_encryption_enabled: log.cloud_watch_encryption_enabled,
                    s3_bucket_name: log.s3_bucket_name,
                    s3_encryption_enabled: log.s3_encryption_enabled,
                    s3_key_prefix: log.s3_key_prefix,
                }),
            }
        }),
        storage: given
            .managed_storage_configuration
            .map(|storage| ManagedStorage {
                kms_key_id: storage.kms_key_id,
                fargate_ephemeral_storage_kms_key_id: storage.fargate_ephemeral_storage_kms_key_id,
            }),
    }
}
