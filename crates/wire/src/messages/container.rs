//! Containers of a task definition.

use crate::error::ApiError;

pub fn no_name() -> ApiError {
    ApiError::client("Container.name should not be null or empty.")
}

pub fn name_invalid() -> ApiError {
    ApiError::client("Container.name contains invalid characters.")
}

pub fn names_not_unique() -> ApiError {
    ApiError::client("Container names must be unique within a task definition")
}

pub fn no_image() -> ApiError {
    ApiError::client("Container.image should not be null or empty.")
}

pub fn image_invalid() -> ApiError {
    ApiError::client("Container.image contains invalid characters.")
}

pub fn no_memory() -> ApiError {
    ApiError::client("At least one of 'memory' or 'memoryReservation' must be specified")
}

pub fn memory_below_reservation() -> ApiError {
    ApiError::client("'memory' must be greater than or equal to 'memoryReservation'")
}

/// The container's hard limit exceeds the task's memory.
pub fn memory_above_task(container: &str) -> ApiError {
    ApiError::client(format!(
        "The 'memory' setting for container '{container}' is greater than for the task"
    ))
}

/// Links and port mappings, which belong to networks of their own. `mode` is a network mode.
pub fn not_in_network(what: &str, mode: &str) -> ApiError {
    ApiError::client(format!("{what} are not supported when networkMode={mode}."))
}

/// Lists of a container that its network mode gives no use to.
pub fn not_on_container(what: &str, mode: &str) -> ApiError {
    ApiError::client(format!(
        "{what} are not supported on container when networkMode={mode}."
    ))
}

/// As [`not_on_container`], for a single setting.
pub fn setting_not_on_container(what: &str, mode: &str) -> ApiError {
    ApiError::client(format!(
        "{what} is not supported on container when networkMode={mode}."
    ))
}

pub fn depends_on_unknown(container: &str) -> ApiError {
    ApiError::client(format!(
        "Cannot depend on container + '{container}' because it does not exist"
    ))
}

/// The end of an essential container is the end of its task.
pub fn depends_on_essential() -> ApiError {
    ApiError::client(
        "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
    )
}

pub fn depends_on_unchecked() -> ApiError {
    ApiError::client(
        "A dependency container with HEALTHY condition must have health check configured",
    )
}

pub fn volumes_from_unknown(container: &str) -> ApiError {
    ApiError::client(format!(
        "Invalid 'volumesFrom' setting. Unknown container: '{container}'."
    ))
}

pub fn too_many_environment_files() -> ApiError {
    ApiError::client(
        "The maximum number of environment files was exceeded. Specify ten or less and try again.",
    )
}

/// An environment file that is no object of S3.
pub fn environment_file_invalid() -> ApiError {
    ApiError::client("Invalid arn syntax.")
}

pub fn secret_name_taken(name: &str) -> ApiError {
    ApiError::client(format!(
        "The secret name must be unique and not shared with any new or existing environment \
         variables set on the container, such as '{name}'."
    ))
}

pub fn secrets_without_role() -> ApiError {
    ApiError::client(
        "When you are specifying container secrets, you must also specify a value for \
         'executionRoleArn'.",
    )
}

pub fn parameter_of_other_account() -> ApiError {
    ApiError::client(
        "The Systems Manager parameter ARN has a different account ID than the current account.",
    )
}

/// In seconds.
pub fn restart_attempt_period(container: &str, min: u32, max: u32) -> ApiError {
    ApiError::client(format!(
        "The 'restartAttemptPeriod' setting for container '{container}' must be between {min} and \
         {max}."
    ))
}

pub fn ulimit_above_hard(name: &str) -> ApiError {
    ApiError::client(format!("Soft limit exceeds hard limit for ulimit {name}"))
}

pub fn health_check_above(field: &str, max: u32, container: &str) -> ApiError {
    ApiError::client(format!(
        "Health check {field} must be less than or equal to the maximum allowed value {max} for \
         container '{container}'"
    ))
}

pub fn health_check_below(field: &str, min: u32, container: &str) -> ApiError {
    ApiError::client(format!(
        "Health check {field} must be greater than or equal to the minimum allowed value {min} for \
         container '{container}'"
    ))
}
