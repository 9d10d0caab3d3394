//! Placement constraints and strategies of RunTask.

use super::read_container::text;
use crate::error::ApiError;
use crate::messages;
use crate::shapes::placement::{
    PlacementConstraint as WireConstraint, PlacementConstraintType,
    PlacementStrategy as WireStrategy, PlacementStrategyType,
};
use windlass_model::placement::{
    BinpackField, PlacementConstraint, PlacementStrategy, SpreadField,
};

/// Of one task, its definition's aside. Source: ECS API.
const CONSTRAINTS_MAX: usize = 10;
/// Of one task. Source: ECS API.
const STRATEGIES_MAX: usize = 5;

pub(super) fn constraints(
    given: Option<Vec<WireConstraint>>,
) -> Result<Vec<PlacementConstraint>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > CONSTRAINTS_MAX {
        return Err(messages::placement::too_many_constraints(CONSTRAINTS_MAX));
    }
    given
        .into_iter()
        .map(|given| match given.r#type {
            Some(PlacementConstraintType::DistinctInstance) => match text(given.expression) {
                None => Ok(PlacementConstraint::DistinctInstance),
                Some(_) => Err(messages::placement::distinct_with_expression()),
            },
            Some(PlacementConstraintType::MemberOf) => match given.expression {
                Some(text) if !text.is_empty() => Ok(PlacementConstraint::MemberOf(text)),
                _ => Err(ApiError::invalid_parameter(
                    "A memberOf placement constraint requires an expression.",
                )),
            },
            other => Err(ApiError::invalid_parameter(format!(
                "Placement constraint type '{}' should be one of [distinctInstance, memberOf].",
                other.as_ref().map_or("", |other| other.as_str())
            ))),
        })
        .collect()
}

pub(super) fn strategies(
    given: Option<Vec<WireStrategy>>,
) -> Result<Vec<PlacementStrategy>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > STRATEGIES_MAX {
        return Err(messages::placement::too_many_strategies(STRATEGIES_MAX));
    }
    given.into_iter().map(placement_strategy).collect()
}

fn placement_strategy(given: WireStrategy) -> Result<PlacementStrategy, ApiError> {
    let field = given.field.unwrap_or_default();
    let bad_field = |strategy: &str| Err(messages::placement::field_invalid(strategy, &field));
    match given.r#type {
        Some(PlacementStrategyType::Random) if field.is_empty() => Ok(PlacementStrategy::Random),
        Some(PlacementStrategyType::Random) => Err(messages::placement::random_with_field()),
        Some(PlacementStrategyType::Spread) => match field.as_str() {
            "instanceId" | "host" => Ok(PlacementStrategy::Spread(SpreadField::InstanceId)),
            _ => match field
                .strip_prefix("attribute:")
                .filter(|name| !name.is_empty())
            {
                Some(name) => Ok(PlacementStrategy::Spread(SpreadField::Attribute(
                    name.to_owned(),
                ))),
                None => bad_field("spread"),
            },
        },
        Some(PlacementStrategyType::Binpack) => match field.to_ascii_lowercase().as_str() {
            "cpu" => Ok(PlacementStrategy::Binpack(BinpackField::Cpu)),
            "memory" => Ok(PlacementStrategy::Binpack(BinpackField::Memory)),
            _ => bad_field("binpack"),
        },
        other => Err(ApiError::invalid_parameter(format!(
            "Placement strategy type '{}' should be one of [random, spread, binpack].",
            other.as_ref().map_or("", |other| other.as_str())
        ))),
    }
}
