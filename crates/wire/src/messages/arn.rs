//! ARNs.

use super::error;
use crate::error::{ApiError, ErrorCode};

/// An ARN of another account.
pub fn account_mismatch() -> ApiError {
    error(ErrorCode::InvalidParameter, "AccountIDs mismatch")
}

pub fn invalid() -> ApiError {
    error(ErrorCode::InvalidParameter, "The ARN provided is invalid.")
}

/// A task or an instance was named by its ARN, which is of another cluster than the call's.
pub fn of_other_cluster(of: &str, cluster: &str) -> ApiError {
    error(
        ErrorCode::InvalidParameter,
        format!("Invalid identifier: Identifier is for cluster {of}. Your cluster is {cluster}"),
    )
}
