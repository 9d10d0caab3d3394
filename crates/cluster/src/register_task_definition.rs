//! RegisterTaskDefinition: the next revision of a family. Numbers are never used again, whatever
//! was deleted. The template was validated where it was decoded; only its placement expressions
//! are checked here, where their language lives.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::placement::query::Query;
use crate::reject::Reject;
use crate::view::DefinitionView;
use std::sync::Arc;
use windlass_model::command::RegisterTaskDefinition;
use windlass_model::definition::{DefinitionKey, DefinitionState, TaskDefinition};
use windlass_model::history::Event;
use windlass_model::limits::REVISIONS_PER_FAMILY_MAX;
use windlass_model::row::{Family, Row};
use windlass_model::status::DefinitionStatus;

pub(crate) fn decide(
    draft: &mut Draft,
    register: &RegisterTaskDefinition,
    by: &str,
) -> Result<Answer, Reject> {
    let family = &register.template.family;
    for expression in &register.template.placement_constraints {
        Query::parse(expression).map_err(|err| Reject::BadExpression {
            expression: expression.clone(),
            why: err.to_string(),
        })?;
    }
    let last = draft
        .state
        .families
        .get(family)
        .map_or(0, |family| family.last_revision);
    if last >= REVISIONS_PER_FAMILY_MAX {
        return Err(Reject::TooManyRevisions(family.clone()));
    }
    let key = DefinitionKey {
        family: family.clone(),
        revision: last + 1,
    };
    let view = DefinitionView {
        definition: Arc::new(TaskDefinition {
            key: key.clone(),
            template: register.template.clone(),
            registered_at: draft.now(),
            registered_by: by.to_owned(),
        }),
        state: Arc::new(DefinitionState {
            key: key.clone(),
            status: DefinitionStatus::Active,
            deregistered_at: None,
            delete_requested_at: None,
            tags: register.tags.clone(),
        }),
    };
    draft.put(Row::Family(Family {
        name: family.clone(),
        last_revision: key.revision,
    }));
    draft.put(Row::Definition(view.definition.clone()));
    draft.put(Row::DefinitionState(view.state.clone()));
    draft.log(
        format!("definition/{key}"),
        Event::Created { by: by.to_owned() },
    );
    Ok(Answer::Definition(view))
}
