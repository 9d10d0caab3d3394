//! AddNode: makes a node a container instance of one more cluster. Its resources stay one: all its
//! instances draw on them. Repeating it returns the membership there is.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::reject::Reject;
use std::sync::Arc;
use windlass_model::history::Event;
use windlass_model::id::{InstanceId, Name, NodeId};
use windlass_model::instance::{Instance, InstanceStatus};
use windlass_model::row::Row;

pub(crate) fn decide(
    draft: &mut Draft,
    node: NodeId,
    cluster: &Name,
    by: &str,
) -> Result<Answer, Reject> {
    draft.state.active_cluster(cluster)?;
    if !draft.state.nodes.contains_key(&node) {
        return Err(Reject::NodeNotFound(node));
    }
    let id = match member(draft, node, cluster) {
        Some(id) => id,
        None => join(draft, node, cluster, by),
    };
    let found = draft.state.instance_view(id).into_iter().collect();
    Ok(Answer::Instances {
        found,
        missing: Vec::new(),
    })
}

fn member(draft: &Draft, node: NodeId, cluster: &Name) -> Option<InstanceId> {
    let ids = draft.state.index.node_instances.get(&node)?;
    let member = |id: &&InstanceId| {
        draft.state.instances.get(id).is_some_and(|instance| {
            instance.cluster == *cluster && instance.status != InstanceStatus::Inactive
        })
    };
    ids.iter().find(member).copied()
}

fn join(draft: &mut Draft, node: NodeId, cluster: &Name, by: &str) -> InstanceId {
    let id = InstanceId(draft.state.random());
    draft.put(Row::Instance(Arc::new(Instance {
        id,
        cluster: cluster.clone(),
        node,
        status: InstanceStatus::Active,
        registered_at: draft.now(),
        version: 1,
        tags: Vec::new(),
        attributes: Vec::new(),
    })));
    draft.log(
        format!("instance/{id}"),
        Event::Created { by: by.to_owned() },
    );
    id
}
