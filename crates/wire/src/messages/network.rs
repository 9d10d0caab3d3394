//! Network configurations.

use super::error;
use crate::error::{ApiError, ErrorCode};

pub fn no_subnets() -> ApiError {
    error(ErrorCode::InvalidParameter, "subnets can not be empty.")
}
