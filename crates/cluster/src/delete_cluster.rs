//! DeleteCluster: marks an empty cluster INACTIVE; `take_due` forgets it later. An instance that joined
//! by itself goes with it, and one that was deregistered: a cluster of that name begins afresh.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::join;
use crate::reject::Reject;
use std::sync::Arc;
use windlass_model::cluster::{Cluster, ClusterStatus};
use windlass_model::history::Event;
use windlass_model::id::{InstanceId, Name};
use windlass_model::row::Row;

pub(crate) fn decide(draft: &mut Draft, name: &Name, by: &str) -> Result<Answer, Reject> {
    let cluster = draft.state.active_cluster(name)?.clone();
    let state = &*draft.state;
    let ids = state.index.cluster_instances.get(name);
    let mut instances = ids.into_iter().flatten();
    let was_added = |id: &InstanceId| {
        let instance = state.instances.get(id);
        instance.is_some_and(|instance| !instance.on_demand)
    };
    if instances.any(was_added) {
        return Err(Reject::ClusterContainsInstances(name.clone()));
    }
    let tasks = draft.state.index.cluster_tasks.get(name);
    if tasks.is_some_and(|tasks| tasks.live > 0) {
        return Err(Reject::ClusterContainsTasks(name.clone()));
    }
    if join::forget(draft, name) {
        return Ok(Answer::Unfinished);
    }
    let cluster = Arc::new(Cluster {
        status: ClusterStatus::Inactive,
        deleted_at: Some(draft.now()),
        ..Cluster::clone(&cluster)
    });
    draft.put(Row::Cluster(cluster.clone()));
    draft.log(
        format!("cluster/{name}"),
        Event::Deleted { by: by.to_owned() },
    );
    Ok(Answer::Cluster(draft.state.cluster_view(&cluster)))
}
