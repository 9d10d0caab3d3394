//! PortsInUse: what a node's agent found programs listening on. Static ports of the node's own tasks
//! are held in its ledger already; the others are refused to tasks that ask for them, so that a
//! port conflict is a refusal when a task is placed and not a failure when it starts.
//!
//! The ledger is asked now and not at a later placement: what a task of ours held when its agent
//! looked may be free by then.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::heartbeat;
use crate::reject::Reject;
use crate::state::State;
use std::collections::BTreeSet;
use std::sync::Arc;
use windlass_model::id::NodeId;
use windlass_model::instance::Node;
use windlass_model::resources::HostPort;
use windlass_model::row::Row;

pub(crate) fn decide(
    draft: &mut Draft,
    id: NodeId,
    in_use: &BTreeSet<HostPort>,
) -> Result<Answer, Reject> {
    heartbeat::decide(draft, id)?;
    let ports = not_held(draft.state, id, in_use);
    let node = draft.state.nodes.get(&id);
    let changed = node.filter(|node| node.ports_in_use != ports);
    if let Some(node) = changed {
        let node = Node {
            ports_in_use: ports,
            ..Node::clone(node)
        };
        draft.put(Row::Node(Arc::new(node)));
    }
    Ok(Answer::Done)
}

/// The ports in use that no task of the node holds.
pub(crate) fn not_held(
    state: &State,
    node: NodeId,
    in_use: &BTreeSet<HostPort>,
) -> BTreeSet<HostPort> {
    match state.index.ledgers.get(&node) {
        Some(ledger) => in_use.difference(&ledger.used.ports).copied().collect(),
        None => in_use.clone(),
    }
}
