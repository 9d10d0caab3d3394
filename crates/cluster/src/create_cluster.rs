//! CreateCluster: a name under which tasks and instances meet. An ACTIVE one is returned as it is;
//! an INACTIVE one begins afresh, and shows nothing of what it was. Source: ECS, CreateCluster.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::join;
use crate::limits::DUE_PER_STEP_MAX;
use crate::reject::Reject;
use std::sync::Arc;
use windlass_model::cluster::{Cluster, ClusterStatus};
use windlass_model::command::CreateCluster;
use windlass_model::history::Event;
use windlass_model::id::{Name, TaskId};
use windlass_model::row::{Key, Row};

pub(crate) fn decide(
    draft: &mut Draft,
    create: &CreateCluster,
    by: &str,
) -> Result<Answer, Reject> {
    let known = draft.state.clusters.get(&create.name);
    if let Some(cluster) = known.filter(|cluster| cluster.status == ClusterStatus::Active) {
        return Ok(Answer::Cluster(draft.state.cluster_view(cluster)));
    }
    if forget(draft, &create.name) {
        return Ok(Answer::Unfinished);
    }
    let cluster = Arc::new(Cluster {
        name: create.name.clone(),
        status: ClusterStatus::Active,
        created_at: draft.now(),
        deleted_at: None,
        container_insights: create.container_insights,
        configuration: create.configuration.clone(),
        capacity_providers: create.capacity_providers.clone(),
        default_strategy: create.default_strategy.clone(),
        namespace: create.namespace.clone(),
        tags: create.tags.clone(),
    });
    draft.put(Row::Cluster(cluster.clone()));
    draft.log(
        format!("cluster/{}", create.name),
        Event::Created { by: by.to_owned() },
    );
    Ok(Answer::Cluster(draft.state.cluster_view(&cluster)))
}

/// Removes some of what an earlier cluster of this name left: STOPPED tasks and INACTIVE instances,
/// for nothing else outlives a deletion. Tells whether there was something.
fn forget(draft: &mut Draft, name: &Name) -> bool {
    let tasks = draft.state.index.cluster_tasks.get(name);
    let tasks = tasks.into_iter().flat_map(|tasks| &tasks.unwanted);
    let tasks: Vec<TaskId> = tasks.copied().take(DUE_PER_STEP_MAX).collect();
    for task in &tasks {
        draft.remove(Key::TaskState(*task));
        draft.remove(Key::TaskSpec(*task));
    }
    let instances = join::forget(draft, name);
    instances || !tasks.is_empty()
}
