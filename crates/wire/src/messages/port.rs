//! Port mappings.

use crate::error::ApiError;

/// `setting` is `containerPort`, `hostPort` or `containerPortRange`.
pub fn invalid_setting(setting: &str, container: &str) -> ApiError {
    ApiError::client(format!(
        "Invalid '{setting}' setting for container '{container}'."
    ))
}

/// A range goes with neither `containerPort` nor `hostPort`.
pub fn port_and_range(container: &str) -> ApiError {
    ApiError::client(format!(
        "Invalid port mapping for container '{container}', cannot specify both single port and \
         port range."
    ))
}

pub fn ports_differ(mode: &str) -> ApiError {
    ApiError::client(format!(
        "When networkMode={mode}, the host ports and container ports in port mappings must match."
    ))
}

pub fn name_taken(mode: &str) -> ApiError {
    ApiError::client(format!(
        "When networkMode={mode}, port mapping name is already used"
    ))
}

/// `protocol` in capitals.
pub fn used_twice(protocol: &str, port: u16, mode: &str) -> ApiError {
    ApiError::client(format!(
        "{protocol} container port '{port}' is used multiple times in task when \
         networkMode={mode}."
    ))
}
