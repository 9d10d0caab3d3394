//! Placement constraints and strategies of RunTask.

use crate::error::ApiError;

pub fn too_many_strategies(max: usize) -> ApiError {
    ApiError::invalid_parameter(format!("Maximum number of strategies is {max}."))
}

pub fn too_many_constraints(max: usize) -> ApiError {
    ApiError::invalid_parameter(format!("Maximum number of constraints is {max}."))
}

/// `strategy` is `binpack` or `spread`.
pub fn field_invalid(strategy: &str, field: &str) -> ApiError {
    ApiError::invalid_parameter(format!("{strategy} field '{field}' is invalid."))
}

pub fn random_with_field() -> ApiError {
    ApiError::invalid_parameter("random field should not be specified.")
}

pub fn distinct_with_expression() -> ApiError {
    ApiError::invalid_parameter("distinctInstance expression should not be specified.")
}

pub fn constraints_on_fargate() -> ApiError {
    ApiError::invalid_parameter("Placement constraints are not supported with FARGATE launch type.")
}

pub fn strategies_on_fargate() -> ApiError {
    ApiError::invalid_parameter("Placement strategies are not supported with FARGATE launch type.")
}
