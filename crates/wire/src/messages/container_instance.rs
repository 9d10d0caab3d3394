//! Container instances.

use super::error;
use crate::error::{ApiError, ErrorCode};

/// Answered where tasks would be placed.
pub fn none_in_cluster() -> ApiError {
    error(
        ErrorCode::InvalidParameter,
        "No Container Instances were found in your cluster.",
    )
}

pub fn none_named() -> ApiError {
    error(ErrorCode::Client, "Container Instances cannot be empty.")
}

pub fn too_many(max: usize) -> ApiError {
    error(
        ErrorCode::InvalidParameter,
        format!("Container Instances cannot be greater than {max}."),
    )
}

pub fn id_length() -> ApiError {
    error(
        ErrorCode::InvalidParameter,
        "containerInstanceId length should be one of [32,36]",
    )
}

/// Where one is to be changed: Describe answers a failure.
pub fn not_found(id: &str) -> ApiError {
    error(
        ErrorCode::InvalidParameter,
        format!("Referenced container instance {id} not found."),
    )
}

pub fn running_tasks() -> ApiError {
    error(
        ErrorCode::InvalidParameter,
        "Found running tasks on the instance.",
    )
}

pub fn status_unknown() -> ApiError {
    error(
        ErrorCode::InvalidParameter,
        "Container instance status should be one of [ACTIVE, DRAINING]",
    )
}

pub fn too_many_described(max: usize) -> ApiError {
    ApiError::invalid_parameter(format!("instanceIds can have at most {max} items."))
}
