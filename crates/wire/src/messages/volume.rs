//! Volumes.

use crate::error::ApiError;

pub fn unknown(name: &str) -> ApiError {
    ApiError::client(format!("Unknown volume '{name}'."))
}

/// Volumes configured at launch that nothing mounts.
pub fn not_referenced(names: &[&str]) -> ApiError {
    ApiError::client(format!(
        "Volumes [{}] are not referenced by any of the containers",
        names.join(", ")
    ))
}

pub fn access_point_root() -> ApiError {
    ApiError::client(
        "When using an EFS access point, the root directory must either be set to \"/\" or be \
         omitted.",
    )
}

pub fn iam_unencrypted() -> ApiError {
    ApiError::client("EFS IAM authorization requires TransitEncryption to be enabled.")
}

pub fn access_point_unencrypted() -> ApiError {
    ApiError::client("EFS access points require TransitEncryption to be enabled.")
}

pub fn port_unencrypted() -> ApiError {
    ApiError::client("TransitEncryptionPort requires that TransitEncryption is enabled.")
}

/// RunTask configures a volume that the task definition does not leave to it.
pub fn not_configurable(name: &str) -> ApiError {
    ApiError::invalid_parameter(format!(
        "The volume name '{name}' in your request does not have a matching volume in your Task \
         Definition that is configurable at launch."
    ))
}

/// RunTask configures a volume, and the task definition leaves none to it.
pub fn none_configurable() -> ApiError {
    ApiError::invalid_parameter(
        "Volume configuration provided but no matching configuredAtLaunch volume found in task \
         definition.",
    )
}
