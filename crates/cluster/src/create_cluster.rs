//! CreateCluster: a name under which tasks and instances meet. An ACTIVE one is returned as it is;
//! an INACTIVE one begins afresh.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::launch;
use crate::reject::Reject;
use std::sync::Arc;
use windlass_model::cluster::{Cluster, ClusterStatus};
use windlass_model::command::CreateCluster;
use windlass_model::history::Event;
use windlass_model::row::Row;

pub(crate) fn decide(
    draft: &mut Draft,
    create: &CreateCluster,
    by: &str,
) -> Result<Answer, Reject> {
    let known = draft.state.clusters.get(&create.name);
    if let Some(cluster) = known.filter(|cluster| cluster.status == ClusterStatus::Active) {
        return Ok(Answer::Cluster(draft.state.cluster_view(cluster)));
    }
    for provider in &create.capacity_providers {
        launch::known_provider(provider)?;
    }
    if !create.default_strategy.is_empty() {
        launch::check_strategy(&create.default_strategy)?;
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
