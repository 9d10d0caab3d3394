//! NodeDisconnected: the session with a node's agent ended. Its tasks go on running and keep what
//! they hold; nothing new is placed there.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::reject::Reject;
use std::sync::Arc;
use windlass_model::history::Event;
use windlass_model::id::NodeId;
use windlass_model::instance::Node;
use windlass_model::row::Row;

pub(crate) fn decide(draft: &mut Draft, id: NodeId) -> Result<Answer, Reject> {
    if !draft.state.nodes.contains_key(&id) {
        return Err(Reject::NodeNotFound(id));
    }
    mark(draft, id, false);
    Ok(Answer::Done)
}

/// Writes whether a node's agent is connected, when that changed.
pub(crate) fn mark(draft: &mut Draft, id: NodeId, connected: bool) {
    if !connected {
        draft.state.heard.remove(&id);
    }
    let Some(node) = draft
        .state
        .nodes
        .get(&id)
        .filter(|node| node.connected != connected)
    else {
        return;
    };
    let node = Node {
        connected,
        connection_changed_at: Some(draft.now()),
        ..Node::clone(node)
    };
    draft.put(Row::Node(Arc::new(node)));
    let event = match connected {
        true => Event::NodeConnected { node: id },
        false => Event::NodeDisconnected { node: id },
    };
    draft.log(format!("node/{id}"), event);
}
