//! PutClusterCapacityProviders: replaces a cluster's capacity providers and its default strategy.
//! FARGATE and FARGATE_SPOT are there at once; one that tasks use cannot leave. Source: ECS.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::reject::Reject;
use crate::state::State;
use std::sync::Arc;
use windlass_model::cluster::Cluster;
use windlass_model::command::PutClusterCapacityProviders;
use windlass_model::history::Event;
use windlass_model::row::Row;
use windlass_model::status::TaskStatus;

pub(crate) fn decide(
    draft: &mut Draft,
    put: &PutClusterCapacityProviders,
) -> Result<Answer, Reject> {
    let state = &*draft.state;
    let cluster = state.active_cluster(&put.cluster)?;
    let leave = |provider: &&String| !put.capacity_providers.contains(provider);
    let mut leaving = cluster.capacity_providers.iter().filter(leave);
    if let Some(used) = leaving.find(|provider| is_used(state, cluster, provider)) {
        return Err(Reject::ProviderInUse(used.clone()));
    }
    let cluster = Arc::new(Cluster {
        capacity_providers: put.capacity_providers.clone(),
        default_strategy: put.default_strategy.clone(),
        ..Cluster::clone(cluster)
    });
    draft.put(Row::Cluster(cluster.clone()));
    let now = match put.capacity_providers.as_slice() {
        [] => String::from("no capacity providers"),
        names => format!("capacity providers {}", names.join(", ")),
    };
    draft.log(
        format!("cluster/{}", put.cluster),
        Event::Note(format!("the cluster has {now}")),
    );
    Ok(Answer::Cluster(draft.state.cluster_view(&cluster)))
}

/// Whether a task of the cluster that has not STOPPED was placed by the provider.
fn is_used(state: &State, cluster: &Cluster, provider: &str) -> bool {
    let Some(tasks) = state.index.cluster_tasks.get(&cluster.name) else {
        return false;
    };
    let live = |id| {
        let task = state.tasks.get(id);
        task.is_some_and(|task| task.last != TaskStatus::Stopped)
    };
    let mut ids = tasks.wanted.iter().chain(&tasks.unwanted);
    ids.any(|id| {
        let spec = state.specs.get(id);
        let by = spec.and_then(|spec| spec.capacity_provider.as_deref());
        by == Some(provider) && live(id)
    })
}
