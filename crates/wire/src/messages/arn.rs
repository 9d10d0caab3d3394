//! ARNs.

use super::error;
use crate::error::{ApiError, ErrorCode};

/// An ARN of another account.
pub fn account_mismatch() -> ApiError {
    error(ErrorCode::InvalidParameter, "AccountIDs mismatch")
}
