//! AddNode: makes a node a container instance of one more cluster, though it was deregistered or
//! drained there before. Its resources stay one: all its instances draw on them. Repeating it returns
//! the membership there is.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::join;
use crate::reject::Reject;
use windlass_model::id::{Name, NodeId};
use windlass_model::instance::{Instance, InstanceStatus};

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
    join::keep(draft, node, cluster);
    let id = match join::member(draft.state, node, cluster).cloned() {
        Some(instance) => {
            let Instance { id, .. } = instance;
            join::set_status(draft, &instance, InstanceStatus::Active, by);
            id
        }
        None => join::join(draft, node, cluster, false, by),
    };
    let found = draft.state.instance_view(id).into_iter().collect();
    Ok(Answer::Instances {
        found,
        missing: Vec::new(),
    })
}
