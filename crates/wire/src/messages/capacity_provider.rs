//! Capacity providers and their strategies.

use crate::error::{ApiError, ErrorCode};

/// A strategy names what the cluster does not have.
pub fn not_associated() -> ApiError {
    ApiError::invalid_parameter(
        "The specified capacity provider strategy cannot contain a capacity provider that is not \
         associated with the cluster. Associate the capacity provider with the cluster or specify \
         a valid capacity provider and try again.",
    )
}

/// A cluster's default strategy has several bases.
pub fn default_with_bases() -> ApiError {
    ApiError::invalid_parameter(
        "The specified capacity provider strategy contains multiple capacity providers with a \
         base value defined. Only one capacity provider per strategy can have a base value \
         defined.",
    )
}

/// The strategy of a task has several bases.
pub fn several_bases() -> ApiError {
    ApiError::invalid_parameter(
        "There are multiple capacity providers in the specified capacity provider strategy with a \
         base value greater than zero. Only one capacity provider can have a base value greater \
         than zero. Specify a valid capacity provider strategy and try again.",
    )
}

pub fn no_weight() -> ApiError {
    ApiError::invalid_parameter(
        "There are no capacity providers in the capacity provider strategy with a weight value \
         greater than zero. Specify a weight value greater than zero for at least one capacity \
         provider and try again.",
    )
}

pub fn launch_and_strategy() -> ApiError {
    ApiError::invalid_parameter(
        "Specifying both a launch type and capacity provider strategy is not supported. Remove \
         one and try again.",
    )
}

/// Tasks of the cluster were placed by it and have not stopped.
pub fn in_use() -> ApiError {
    ApiError::new(
        ErrorCode::ResourceInUse,
        "The specified capacity provider is in use and cannot be removed.",
    )
}
