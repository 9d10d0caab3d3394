//! DeleteCluster: marks an empty cluster INACTIVE; `take_due` forgets it later.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::reject::Reject;
use std::sync::Arc;
use windlass_model::cluster::{Cluster, ClusterStatus};
use windlass_model::history::Event;
use windlass_model::id::Name;
use windlass_model::row::Row;

pub(crate) fn decide(draft: &mut Draft, name: &Name, by: &str) -> Result<Answer, Reject> {
    let cluster = draft.state.active_cluster(name)?;
    if draft.state.index.cluster_instances.contains_key(name) {
        return Err(Reject::ClusterContainsInstances(name.clone()));
    }
    let tasks = draft.state.index.cluster_tasks.get(name);
    if tasks.is_some_and(|tasks| tasks.live > 0) {
        return Err(Reject::ClusterContainsTasks(name.clone()));
    }
    let cluster = Arc::new(Cluster {
        status: ClusterStatus::Inactive,
        deleted_at: Some(draft.now()),
        ..Cluster::clone(cluster)
    });
    draft.put(Row::Cluster(cluster.clone()));
    draft.log(
        format!("cluster/{name}"),
        Event::Deleted { by: by.to_owned() },
    );
    Ok(Answer::Cluster(draft.state.cluster_view(&cluster)))
}
