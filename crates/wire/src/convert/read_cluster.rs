//! CreateCluster's request.

use super::identifier::{self, DEFAULT_CLUSTER};
use super::read_strategy::cluster_strategy;
use super::read_tags::tags;
use crate::error::ApiError;
use crate::messages;
use crate::ops::create_cluster::CreateClusterRequest;
use crate::ops::put_cluster_capacity_providers::PutClusterCapacityProvidersRequest;
use crate::shapes::cluster as wire;
use crate::shapes::execute_command;
use windlass_model::arn::Scope;
use windlass_model::cluster::{
    ClusterConfiguration, ContainerInsights, ExecuteCommandConfiguration, ExecuteCommandLog,
    FARGATE_PROVIDERS, ManagedStorage,
};
use windlass_model::command::{CreateCluster, PutClusterCapacityProviders};
use windlass_model::id::Name;

/// Decodes and validates a CreateCluster.
///
/// # Errors
/// `InvalidParameterException` for a bad name, setting or provider.
pub fn create_cluster(given: CreateClusterRequest) -> Result<CreateCluster, ApiError> {
    let name = Name::new(given.cluster_name.as_deref().unwrap_or(DEFAULT_CLUSTER))
        .map_err(|_| messages::cluster::name_invalid())?;
    // The default cluster of an account has them from its beginning.
    let everywhere = || FARGATE_PROVIDERS.map(String::from).to_vec();
    let by_default = (name.as_str() == DEFAULT_CLUSTER).then(everywhere);
    let (capacity_providers, default_strategy) = cluster_strategy(
        given.capacity_providers.or(by_default),
        given.default_capacity_provider_strategy,
    )?;
    Ok(CreateCluster {
        name,
        tags: tags(given.tags)?,
        container_insights: container_insights(given.settings)?,
        configuration: given.configuration.map(configuration).transpose()?,
        capacity_providers,
        default_strategy,
        namespace: given
            .service_connect_defaults
            .and_then(|defaults| defaults.namespace),
    })
}

/// Decodes and validates a PutClusterCapacityProviders.
///
/// # Errors
/// `InvalidParameterException` for a provider or a strategy that the cluster cannot have.
pub fn put_cluster_capacity_providers(
    scope: &Scope,
    given: PutClusterCapacityProvidersRequest,
) -> Result<PutClusterCapacityProviders, ApiError> {
    let cluster = identifier::cluster(scope, given.cluster.as_deref())?;
    let (capacity_providers, default_strategy) = cluster_strategy(
        given.capacity_providers,
        given.default_capacity_provider_strategy,
    )?;
    Ok(PutClusterCapacityProviders {
        cluster,
        capacity_providers,
        default_strategy,
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

fn configuration(given: wire::ClusterConfiguration) -> Result<ClusterConfiguration, ApiError> {
    let execute_command = given
        .execute_command_configuration
        .map(read_execute_command);
    Ok(ClusterConfiguration {
        execute_command: execute_command.transpose()?,
        storage: given
            .managed_storage_configuration
            .map(|storage| ManagedStorage {
                kms_key_id: storage.kms_key_id,
                fargate_ephemeral_storage_kms_key_id: storage.fargate_ephemeral_storage_kms_key_id,
            }),
    })
}

/// Where sessions are logged is said when, and only when, the default is overridden.
fn read_execute_command(
    given: execute_command::ExecuteCommandConfiguration,
) -> Result<ExecuteCommandConfiguration, ApiError> {
    let log = given.log_configuration.map(|log| ExecuteCommandLog {
        cloud_watch_log_group_name: log.cloud_watch_log_group_name,
        cloud_watch_encryption_enabled: log.cloud_watch_encryption_enabled,
        s3_bucket_name: log.s3_bucket_name,
        s3_encryption_enabled: log.s3_encryption_enabled,
        s3_key_prefix: log.s3_key_prefix,
    });
    let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    let somewhere = log
        .as_ref()
        .is_some_and(|log| named(&log.cloud_watch_log_group_name) || named(&log.s3_bucket_name));
    match given.logging {
        Some(execute_command::ExecuteCommandLogging::Override) if !somewhere => {
            return Err(messages::cluster::override_without_log());
        }
        Some(execute_command::ExecuteCommandLogging::Override) => {}
        _ if log.is_some() => return Err(messages::cluster::log_without_override()),
        _ => {}
    }
    Ok(ExecuteCommandConfiguration {
        kms_key_id: given.kms_key_id,
        logging: given.logging.map(|logging| logging.as_str().to_owned()),
        log,
    })
}
