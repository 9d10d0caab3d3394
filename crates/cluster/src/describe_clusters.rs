//! DescribeClusters: those that exist, INACTIVE ones included, and those that do not.

use crate::decision::Answer;
use crate::state::State;
use windlass_model::id::Name;

pub(crate) fn read(state: &State, names: &[Name]) -> Answer {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match state.cluster_view_of(name) {
            Some(view) => found.push(view),
            None => missing.push(name.clone()),
        }
    }
    Answer::Clusters { found, missing }
}
