//! Services.

use super::error;
use crate::error::{ApiError, ErrorCode};

pub fn not_found() -> ApiError {
    error(ErrorCode::ServiceNotFound, "Service not found.")
}

pub fn name_invalid(name: &str) -> ApiError {
    let name = crate::check::quoted(name);
    ApiError::invalid_parameter(format!(
        "ServiceName must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {name}"
    ))
}
