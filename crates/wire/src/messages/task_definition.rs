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

/// No such pair of cpu and memory on Fargate.
pub fn no_fargate_configuration() -> ApiError {
    error(
        ErrorCode::Client,
        "No Fargate configuration exists for given values.",
    )
}
