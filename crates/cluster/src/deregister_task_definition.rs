//! DeregisterTaskDefinition: ACTIVE becomes INACTIVE. What runs goes on running; repeating it
//! changes nothing.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::reject::Reject;
use crate::view::DefinitionView;
use std::sync::Arc;
use windlass_model::definition::{DefinitionKey, DefinitionState};
use windlass_model::history::Event;
use windlass_model::row::Row;
use windlass_model::status::DefinitionStatus;

pub(crate) fn decide(draft: &mut Draft, key: &DefinitionKey, by: &str) -> Result<Answer, Reject> {
    let view = draft
        .state
        .definition_view(key)
        .ok_or_else(|| Reject::DefinitionNotDeregistrable(key.clone()))?;
    if view.state.status != DefinitionStatus::Active {
        return Ok(Answer::Definition(view));
    }
    let state = Arc::new(DefinitionState {
        status: DefinitionStatus::Inactive,
        deregistered_at: Some(draft.now()),
        ..DefinitionState::clone(&view.state)
    });
    draft.put(Row::DefinitionState(state.clone()));
    draft.log(
        format!("definition/{key}"),
        Event::Note(format!("deregistered by {by}")),
    );
    Ok(Answer::Definition(DefinitionView { state, ..view }))
}
