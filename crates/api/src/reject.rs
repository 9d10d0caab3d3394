//! The leader's typed refusals, in AWS's codes and words.

use windlass_cluster::Reject;
use windlass_model::arn::Scope;
use windlass_model::id::Name;
use windlass_model::task::Launch;
use windlass_server::Refused;
use windlass_wire::{ApiError, ErrorCode, messages};

pub(crate) fn api_error(scope: &Scope, refused: Refused) -> ApiError {
    match refused {
        Refused::Rejected(reject) => rejected(scope, reject),
        Refused::Throttled => messages::request::throttled(),
        Refused::DiskLow { .. } | Refused::DiskFull { .. } | Refused::Unwritten(_) => {
            ApiError::new(ErrorCode::Server, refused.to_string())
        }
        Refused::Store(why) => ApiError::new(
            ErrorCode::Server,
            format!("The store could not be read: {why}"),
        ),
        Refused::Stopping => ApiError::new(
            ErrorCode::ServiceUnavailable,
            "Windlass is stopping. Try again when it is up.",
        ),
    }
}

fn rejected(scope: &Scope, reject: Reject) -> ApiError {
    let sentence = reject.to_string();
    match reject {
        Reject::ClusterNotFound(_) => messages::cluster::not_found(),
        Reject::ClusterInactive(_) => messages::cluster::inactive(),
        Reject::TagsOfInactiveCluster(_) => messages::cluster::tags_of_inactive(),
        Reject::ClusterContainsInstances(_) => messages::cluster::contains_container_instances(),
        Reject::ClusterContainsServices(_) => messages::cluster::contains_services(),
        Reject::ClusterContainsTasks(_) => messages::cluster::contains_tasks(),
        Reject::DefinitionNotFound(_) => messages::task_definition::not_found(),
        Reject::DefinitionInactive(_) => messages::task_definition::inactive(),
        Reject::DefinitionNotDescribable(_) => messages::task_definition::not_described(),
        Reject::DefinitionNotDeregistrable(_) => messages::task_definition::not_deregistered(),
        Reject::TooManyRevisions(_) | Reject::TooManyTags => {
            ApiError::new(ErrorCode::LimitExceeded, capital(&sentence))
        }
        Reject::TaskNotFound(_) => messages::task::not_found(),
        Reject::NoInstances { cluster } => no_instances(&cluster),
        Reject::IncompatibleLaunch(launch) => {
            let name = match launch {
                Launch::Ec2 => "EC2",
                Launch::External => "EXTERNAL",
                Launch::Fargate => "FARGATE",
            };
            ApiError::invalid_parameter(format!(
                "Task definition does not support launch_type {name}."
            ))
        }
        Reject::LaunchAndStrategy => messages::capacity_provider::launch_and_strategy(),
        Reject::ProviderNotAssociated(_) => messages::capacity_provider::not_associated(),
        Reject::ProviderInUse(_) => messages::capacity_provider::in_use(),
        Reject::StrategyWithoutWeight => messages::capacity_provider::no_weight(),
        Reject::ConstraintsNotAllowed => messages::placement::constraints_on_fargate(),
        Reject::StrategiesNotAllowed => messages::placement::strategies_on_fargate(),
        Reject::PlatformVersionNotAllowed => messages::task::platform_on_ec2(),
        Reject::AwsvpcNeedsNetwork => messages::network::required(),
        Reject::NetworkNotAllowed => messages::network::not_allowed(),
        Reject::NoTaskRole => messages::task::no_task_role(),
        Reject::VolumeNotConfigurable(name) => messages::volume::not_configurable(&name),
        Reject::NoVolumeConfigurable => messages::volume::none_configurable(),
        Reject::PublicIpNotAllowed => {
            ApiError::invalid_parameter("Assign public IP is not supported for this launch type.")
        }
        Reject::UnknownOverride(name) => ApiError::invalid_parameter(format!(
            "Override for container named {name} is not a container in the TaskDefinition."
        )),
        Reject::NoFargateSize { cpu, memory } => messages::fargate::no_configuration(cpu, memory),
        Reject::MemoryBelowReservation(_) => messages::container::memory_below_reservation(),
        Reject::CpuExceedsTask => messages::task_definition::cpu_exceeded(),
        Reject::MemoryExceedsTask => messages::task_definition::invalid_setting("memory"),
        Reject::ContainerExceedsTask(name) => messages::container::memory_above_task(name.as_str()),
        Reject::TokenConflict { tasks, cluster } => messages::request::token_reused(
            tasks
                .into_iter()
                .map(|task| scope.task(&cluster, task))
                .collect(),
        ),
        Reject::BadPage(_) => ApiError::invalid_parameter("Invalid token."),
        Reject::ResourceNotFound => ApiError::new(
            ErrorCode::ResourceNotFound,
            "The specified resource was not found.",
        ),
        Reject::ServiceNotFound(_) => messages::service::not_found(),
        Reject::InstanceNotFound(id) => messages::container_instance::not_found(&id.to_string()),
        Reject::InstanceHasTasks(_) => messages::container_instance::running_tasks(),
        Reject::NoTaskBeginsWith(_)
        | Reject::AmbiguousTask(_)
        | Reject::NodeNotFound(_)
        | Reject::TooManyTagsOfTask
        | Reject::BadExpression { .. } => ApiError::invalid_parameter(capital(&sentence)),
    }
}

/// ECS's sentence does not say what to do here; the log does.
fn no_instances(cluster: &Name) -> ApiError {
    let command = format!("windlass nodes add --cluster {cluster}");
    tracing::warn!(%cluster, "RunTask: the cluster has no container instances; add this machine \
                   with `{command}`, or use --launch-type FARGATE");
    messages::container_instance::none_in_cluster()
}

/// Our own sentences, as the API writes them.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}
