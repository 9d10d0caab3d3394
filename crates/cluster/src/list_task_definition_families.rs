//! ListTaskDefinitionFamilies: by name. A family whose revisions are all purged is gone, though
//! its counter stays.

use crate::decision::Answer;
use crate::describe_task_definition::{latest, revisions};
use crate::state::State;
use crate::view;
use windlass_model::command::ListTaskDefinitionFamilies;
use windlass_model::id::Name;

pub(crate) fn read(state: &State, list: &ListTaskDefinitionFamilies) -> Answer {
    let names = state
        .families
        .keys()
        .filter(|name| {
            list.page
                .after
                .as_deref()
                .is_none_or(|after| name.as_str() > after)
        })
        .filter(|name| {
            list.prefix
                .as_deref()
                .is_none_or(|prefix| name.as_str().starts_with(prefix))
        })
        .filter(|name| has_revision(state, name))
        .filter(|name| {
            list.active
                .is_none_or(|active| latest(state, name).is_some() == active)
        })
        .map(Name::to_string);
    let (names, more) = view::page(names, list.page.limit);
    Answer::Names { names, more }
}

fn has_revision(state: &State, family: &Name) -> bool {
    state
        .definition_states
        .range(revisions(family))
        .next()
        .is_some()
}
