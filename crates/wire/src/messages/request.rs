//! The call itself: who signs it, what it asks for, how much it brings.

use super::error;
use crate::error::{ApiError, ErrorCode};

/// A client token came again with other parameters. `resources` are the ARNs it is bound to.
pub fn token_reused(resources: Vec<String>) -> ApiError {
    ApiError {
        resource_ids: resources,
        ..error(
            ErrorCode::Conflict,
            "Arguments on this idempotent request are inconsistent with arguments used in \
             previous request(s).",
        )
    }
}

pub fn throttled() -> ApiError {
    error(ErrorCode::Throttling, "Rate exceeded")
}

pub fn unknown_operation(target: &str) -> ApiError {
    let target = crate::check::quoted(target);
    error(
        ErrorCode::UnknownOperation,
        format!("The operation '{target}' is not known"),
    )
}

/// An ECS operation that Windlass does not have yet.
pub fn not_built(operation: crate::operation::Operation) -> ApiError {
    error(
        ErrorCode::UnsupportedFeature,
        format!(
            "{} is not supported by Windlass yet; docs/coverage.md lists what is",
            operation.name()
        ),
    )
}

pub fn signature_missing() -> ApiError {
    error(
        ErrorCode::MissingAuthenticationToken,
        "Missing Authentication Token",
    )
}

/// `what` says what the `Authorization` header lacks.
pub fn signature_incomplete(what: &str) -> ApiError {
    error(ErrorCode::IncompleteSignature, what)
}

pub fn signature_mismatch() -> ApiError {
    error(
        ErrorCode::InvalidSignature,
        "The request signature we calculated does not match the signature you provided. \
         Check your AWS Secret Access Key and signing method. Consult the service \
         documentation for details.",
    )
}

/// The access key or its token is unknown.
pub fn client_unrecognized() -> ApiError {
    error(
        ErrorCode::UnrecognizedClient,
        "The security token included in the request is invalid.",
    )
}

/// Limit in bytes.
pub fn too_large(max: usize) -> ApiError {
    error(
        ErrorCode::RequestEntityTooLarge,
        format!("The request body is larger than {max} bytes"),
    )
}
