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
