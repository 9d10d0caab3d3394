//! Task definitions as a whole.

use super::error;
use crate::error::{ApiError, ErrorCode};

/// Answered where a task definition is started.
pub fn not_found() -> ApiError {
    error(ErrorCode::Client, "TaskDefinition not found.")
}

pub fn inactive() -> ApiError {
    error(ErrorCode::Client, "TaskDefinition is inactive")
}

/// Answered by DescribeTaskDefinition.
pub fn not_described() -> ApiError {
    error(ErrorCode::Client, "Unable to describe task definition.")
}

/// Answered by DeregisterTaskDefinition.
pub fn not_deregistered() -> ApiError {
    error(
        ErrorCode::Client,
        "The specified task definition does not exist.",
    )
}

pub fn revision_missing() -> ApiError {
    error(ErrorCode::Client, "Revision is missing.")
}

/// Both in bytes.
pub fn too_long(actual: usize, max: usize) -> ApiError {
    error(
        ErrorCode::Client,
        format!("Actual length: '{actual}'. Max allowed length is '{max}' bytes."),
    )
}

/// The task's `cpu` or `memory` cannot be read or is out of range.
pub fn invalid_setting(setting: &str) -> ApiError {
    error(
        ErrorCode::Client,
        format!(
            "Invalid '{setting}' setting for task. For more information, see the \
             Troubleshooting section of the Amazon ECS Developer Guide."
        ),
    )
}

/// The containers' `cpu` exceeds the task's.
pub fn cpu_exceeded() -> ApiError {
    ApiError::client(
        "The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'.",
    )
}

pub fn family_blank() -> ApiError {
    ApiError::client("Family can not be blank.")
}

pub fn family_invalid() -> ApiError {
    ApiError::client("Family contains invalid characters.")
}

pub fn no_containers() -> ApiError {
    ApiError::client("Container list cannot be empty.")
}

pub fn too_many_containers() -> ApiError {
    ApiError::client("Too many containers.")
}

pub fn nothing_essential() -> ApiError {
    ApiError::client("Task definition doesn't have any essential container")
}

pub fn no_tags() -> ApiError {
    ApiError::client("Tags can not be empty.")
}

/// `taskRoleArn` or `executionRoleArn` is neither a role's name nor its ARN.
pub fn role_invalid() -> ApiError {
    ApiError::client("Role is not valid")
}

/// A member that ECS had once.
pub fn unsupported_field(field: &str) -> ApiError {
    ApiError::client(format!("Unsupported field '{field}'."))
}

/// Both in GiB.
pub fn ephemeral_storage_below(min: u32) -> ApiError {
    ApiError::client(format!("EphemeralStorage size should be at least {min}"))
}

pub fn ephemeral_storage_above(max: u32) -> ApiError {
    ApiError::client(format!("EphemeralStorage size should be at most {max}"))
}

pub fn ephemeral_storage_on_ec2() -> ApiError {
    ApiError::client("Tasks using the EC2 launch type do not support EphemeralStorage.")
}

/// Only `memberOf` is of a task definition.
pub fn constraint_type(given: &str) -> ApiError {
    ApiError::client(format!("constraint.type '{given}' is not supported."))
}
