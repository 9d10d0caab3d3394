//! ListNodes: every machine that ever registered, with its memberships and what is left of it.

use crate::decision::Answer;
use crate::state::State;

pub(crate) fn read(state: &State) -> Answer {
    Answer::Nodes(
        state
            .nodes
            .keys()
            .filter_map(|id| state.node_view(*id))
            .collect(),
    )
}
