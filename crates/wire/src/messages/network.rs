//! Network configurations.

use super::error;
use crate::error::{ApiError, ErrorCode};

pub fn no_subnets() -> ApiError {
    error(ErrorCode::InvalidParameter, "subnets can not be empty.")
}

pub fn required() -> ApiError {
    ApiError::invalid_parameter(
        "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
    )
}

pub fn not_allowed() -> ApiError {
    ApiError::invalid_parameter(
        "Network Configuration is not valid for the given networkMode of this task definition.",
    )
}
