//! Tasks.

use super::error;
use crate::error::{ApiError, ErrorCode};

pub fn not_found() -> ApiError {
    error(
        ErrorCode::InvalidParameter,
        "The referenced task was not found.",
    )
}

pub fn none_named() -> ApiError {
    error(ErrorCode::InvalidParameter, "Tasks cannot be empty.")
}

pub fn id_length() -> ApiError {
    error(
        ErrorCode::InvalidParameter,
        "taskId length should be one of [32,36]",
    )
}

/// `max` in characters.
pub fn started_by_too_long(max: usize) -> ApiError {
    ApiError::invalid_parameter(format!("startedBy longer than {max}."))
}

pub fn platform_unknown() -> ApiError {
    ApiError::platform_unknown("The specified platform does not exist.")
}

pub fn platform_on_ec2() -> ApiError {
    ApiError::invalid_parameter(
        "The platform version must be null when specifying an EC2 launch type.",
    )
}

/// Execute command runs in the task role's name.
pub fn no_task_role() -> ApiError {
    ApiError::invalid_parameter(
        "The task couldn't be created because a valid taskRoleArn is not being used. Specify a \
         valid task role in your task definition and try again.",
    )
}
