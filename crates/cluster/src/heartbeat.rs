//! Heartbeat: an agent is alive. Not written, unless it had been taken for silent.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::node_disconnected;
use crate::reject::Reject;
use windlass_model::id::NodeId;

pub(crate) fn decide(draft: &mut Draft, id: NodeId) -> Result<Answer, Reject> {
    if !draft.state.nodes.contains_key(&id) {
        return Err(Reject::NodeNotFound(id));
    }
    let now = draft.now();
    draft.state.heard.insert(id, now);
    node_disconnected::mark(draft, id, true);
    Ok(Answer::Done)
}
