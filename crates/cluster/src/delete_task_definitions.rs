//! DeleteTaskDefinitions: INACTIVE becomes DELETE_IN_PROGRESS. `take_due` purges a revision once
//! no task shows it any more.

use crate::decision::{Answer, DeleteFailure};
use crate::draft::Draft;
use crate::view::DefinitionView;
use std::sync::Arc;
use windlass_model::definition::{DefinitionKey, DefinitionState};
use windlass_model::history::Event;
use windlass_model::row::Row;
use windlass_model::status::DefinitionStatus;

pub(crate) fn decide(draft: &mut Draft, keys: &[DefinitionKey], by: &str) -> Answer {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for key in keys {
        match delete(draft, key, by) {
            Ok(view) => found.push(view),
            Err(failure) => failures.push((key.clone(), failure)),
        }
    }
    Answer::Definitions { found, failures }
}

fn delete(
    draft: &mut Draft,
    key: &DefinitionKey,
    by: &str,
) -> Result<DefinitionView, DeleteFailure> {
    let view = draft
        .state
        .definition_view(key)
        .ok_or(DeleteFailure::NotFound)?;
    match view.state.status {
        DefinitionStatus::Active => Err(DeleteFailure::StillActive),
        DefinitionStatus::DeleteInProgress => Ok(view),
        DefinitionStatus::Inactive => {
            let state = Arc::new(DefinitionState {
                status: DefinitionStatus::DeleteInProgress,
                delete_requested_at: Some(draft.now()),
                ..DefinitionState::clone(&view.state)
            });
            draft.put(Row::DefinitionState(state.clone()));
            draft.log(
                format!("definition/{key}"),
                Event::Deleted { by: by.to_owned() },
            );
            Ok(DefinitionView { state, ..view })
        }
    }
}
