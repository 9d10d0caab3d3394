//! Log configurations.

use crate::error::ApiError;

/// `drivers` are those of the launch type.
pub fn driver_invalid(driver: &str, drivers: &[&str]) -> ApiError {
    ApiError::client(format!(
        "{driver} is not a valid log driver. Must be one of [{}]",
        drivers.join(",")
    ))
}

/// `missing` are the names of options.
pub fn options_missing(driver: &str, missing: &[&str]) -> ApiError {
    ApiError::client(format!(
        "Log driver {driver} requires options: {}",
        missing.join(", ")
    ))
}

pub fn no_router() -> ApiError {
    ApiError::client(
        "When awsfirelens log driver is specified in log configuration, a firelens configuration \
         object must be configured in one of the containers.",
    )
}
