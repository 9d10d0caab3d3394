//! Capacity provider strategies: of a task, and of a cluster for tasks that bring none.

use crate::error::ApiError;
use crate::messages;
use crate::shapes::capacity_provider::CapacityProviderStrategyItem;
use std::collections::BTreeSet;
use windlass_model::cluster::{FARGATE_PROVIDERS, StrategyItem};

/// Of one strategy. Source: ECS API.
const PROVIDERS_MAX: usize = 20;

/// The strategy of RunTask. Whether the cluster has its providers is the cluster's to say.
///
/// # Errors
/// `InvalidParameterException` for what no strategy can be.
pub(super) fn task_strategy(
    given: Option<Vec<CapacityProviderStrategyItem>>,
) -> Result<Vec<StrategyItem>, ApiError> {
    let items = items(given)?;
    if bases(&items) > 1 {
        return Err(messages::capacity_provider::several_bases());
    }
    Ok(items)
}

/// The providers of a cluster, and its default strategy. Its weights may all be zero: it is the
/// task that uses it that is refused then.
///
/// # Errors
/// `InvalidParameterException` for providers that do not exist, and strategies that name others.
pub(super) fn cluster_strategy(
    providers: Option<Vec<String>>,
    strategy: Option<Vec<CapacityProviderStrategyItem>>,
) -> Result<(Vec<String>, Vec<StrategyItem>), ApiError> {
    let mut named = BTreeSet::new();
    let providers = providers.unwrap_or_default();
    for provider in &providers {
        if !FARGATE_PROVIDERS.contains(&provider.as_str()) {
            return Err(ApiError::invalid_parameter(format!(
                "The specified capacity provider does not exist: {}. Specify FARGATE or \
                 FARGATE_SPOT.",
                crate::check::quoted(provider)
            )));
        }
        if !named.insert(provider.as_str()) {
            return Err(ApiError::invalid_parameter(format!(
                "Capacity provider {provider} is named more than once."
            )));
        }
    }
    let items = items(strategy)?;
    if !items
        .iter()
        .all(|item| named.contains(item.provider.as_str()))
    {
        return Err(messages::capacity_provider::not_associated());
    }
    if bases(&items) > 1 {
        return Err(messages::capacity_provider::default_with_bases());
    }
    Ok((providers, items))
}

fn items(given: Option<Vec<CapacityProviderStrategyItem>>) -> Result<Vec<StrategyItem>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > PROVIDERS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "A capacity provider strategy has at most {PROVIDERS_MAX} capacity providers."
        )));
    }
    let mut names = BTreeSet::new();
    let mut items = Vec::new();
    for item in given {
        let provider = item.capacity_provider.unwrap_or_default();
        let in_range =
            |value: Option<i32>, max: u32, what: &str| {
                u32::try_from(value.unwrap_or(0)).ok().filter(|value| *value <= max).ok_or_else(|| {
                ApiError::invalid_parameter(format!(
                    "The {what} of capacity provider {provider} must be between 0 and {max}."
                ))
            })
            };
        let weight = in_range(item.weight, 1_000, "weight")?;
        let base = in_range(item.base, 100_000, "base")?;
        if !names.insert(provider.clone()) {
            return Err(ApiError::invalid_parameter(format!(
                "Capacity provider {provider} is named more than once."
            )));
        }
        items.push(StrategyItem {
            provider,
            weight,
            base,
        });
    }
    let fargate = |item: &StrategyItem| FARGATE_PROVIDERS.contains(&item.provider.as_str());
    if items.iter().any(fargate) && !items.iter().all(fargate) {
        return Err(ApiError::invalid_parameter(
            "A capacity provider strategy cannot contain a mix of capacity providers using Auto \
             Scaling groups and Fargate providers. Specify one or the other.",
        ));
    }
    Ok(items)
}

fn bases(items: &[StrategyItem]) -> usize {
    items.iter().filter(|item| item.base > 0).count()
}
