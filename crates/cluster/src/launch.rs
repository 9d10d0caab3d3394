//! Who provides each task's capacity: strategy, launch type, the cluster's default strategy, EC2,
//! in that order. Source: ECS, RunTask.

use crate::reject::Reject;
use windlass_model::cluster::{Cluster, StrategyItem};
use windlass_model::command::RunTask;
use windlass_model::task::Launch;

/// One task's launch type, and the provider a strategy chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provided {
    pub launch: Launch,
    pub provider: Option<String>,
}

/// One entry per task of the call.
pub(crate) fn decide(run: &RunTask, cluster: &Cluster) -> Result<Vec<Provided>, Reject> {
    let count = usize::try_from(run.count).unwrap_or(usize::MAX);
    if run.launch.is_some() && !run.strategy.is_empty() {
        return Err(Reject::LaunchAndStrategy);
    }
    let strategy = match (run.launch, run.strategy.as_slice()) {
        (Some(_), _) => &[][..],
        (None, []) => cluster.default_strategy.as_slice(),
        (None, given) => given,
    };
    if strategy.is_empty() {
        let launch = run.launch.unwrap_or(Launch::Ec2);
        return Ok(vec![
            Provided {
                launch,
                provider: None
            };
            count
        ]);
    }
    check_strategy(cluster, strategy)?;
    let provided = |provider: String| Provided {
        launch: Launch::Fargate,
        provider: Some(provider),
    };
    Ok(share(strategy, count).into_iter().map(provided).collect())
}

/// What only the cluster can say of a strategy.
fn check_strategy(cluster: &Cluster, strategy: &[StrategyItem]) -> Result<(), Reject> {
    let associated = |item: &&StrategyItem| cluster.capacity_providers.contains(&item.provider);
    if let Some(other) = strategy.iter().find(|item| !associated(item)) {
        return Err(Reject::ProviderNotAssociated(other.provider.clone()));
    }
    if strategy.iter().all(|item| item.weight == 0) {
        return Err(Reject::StrategyWithoutWeight);
    }
    Ok(())
}

/// First the base, then by weight: each task goes where tasks per weight are fewest, ties to the
/// first named.
fn share(strategy: &[StrategyItem], count: usize) -> Vec<String> {
    let mut given = vec![0u64; strategy.len()];
    let mut shares = Vec::with_capacity(count);
    if let Some(based) = strategy.iter().find(|item| item.base > 0) {
        let base = usize::try_from(based.base).unwrap_or(usize::MAX).min(count);
        shares.resize(base, based.provider.clone());
    }
    while shares.len() < count {
        // Comparing a/b with c/d as a*d with c*b needs no fractions.
        let next = (0..strategy.len())
            .filter(|at| strategy[*at].weight > 0)
            .reduce(|best, at| {
                let left = given[at] * u64::from(strategy[best].weight);
                let right = given[best] * u64::from(strategy[at].weight);
                if left < right { at } else { best }
            })
            .unwrap_or(0);
        given[next] += 1;
        shares.push(strategy[next].provider.clone());
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(provider: &str, weight: u32, base: u32) -> StrategyItem {
        StrategyItem {
            provider: provider.to_owned(),
            weight,
            base,
        }
    }

    #[test]
    fn shares_follow_base_and_weights() {
        let spot = |strategy: &[StrategyItem], count| {
            let shares = share(strategy, count);
            assert_eq!(shares.len(), count);
            shares
                .iter()
                .filter(|provider| *provider == "FARGATE_SPOT")
                .count()
        };
        for (fargate, fargate_spot, count, expected) in [
            ((1, 0), (4, 0), 5, 4),
            ((1, 0), (1, 0), 1, 0),
            ((1, 0), (1, 0), 10, 5),
            ((1, 2), (1, 0), 2, 0),
            ((1, 2), (1, 0), 4, 1),
            ((0, 2), (1, 0), 5, 3),
            ((0, 9), (1, 0), 5, 0),
        ] {
            let strategy = [
                item("FARGATE", fargate.0, fargate.1),
                item("FARGATE_SPOT", fargate_spot.0, fargate_spot.1),
            ];
            assert_eq!(spot(&strategy, count), expected, "{strategy:?} {count}");
        }
        assert_eq!(spot(&[item("FARGATE_SPOT", 1, 0)], 3), 3);
    }
}
