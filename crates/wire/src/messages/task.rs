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
