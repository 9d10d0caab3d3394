//! Services.

use super::error;
use crate::error::{ApiError, ErrorCode};

pub fn not_found() -> ApiError {
    error(ErrorCode::ServiceNotFound, "Service not found.")
}
