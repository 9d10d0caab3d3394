//! App Mesh's proxy configuration.

use crate::error::ApiError;

pub fn network_mode() -> ApiError {
    ApiError::client("APPMESH proxy configuration is only supported in networkMode=awsvpc")
}

pub fn unknown_container(name: &str) -> ApiError {
    ApiError::client(format!("Proxy container [{name}] does not exist."))
}

/// `what` names the property, e.g. `Ingress port`.
pub fn property_missing(what: &str) -> ApiError {
    ApiError::client(format!("{what} not found"))
}
