//! JoinAtStart: `windlass up` makes its machine an instance of the clusters that it is to serve. What
//! somebody deregistered or drained meanwhile stays so, until AddNode.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::join;
use crate::reject::Reject;
use windlass_model::id::{Name, NodeId};

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
    match join::is_decided(draft.state, node, cluster) {
        true => join::keep(draft, node, cluster),
        false => {
            join::join(draft, node, cluster, false, by);
        }
    }
    Ok(Answer::Done)
}
