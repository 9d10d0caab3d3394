//! DescribeTaskDefinition: an exact revision of any status, or a family's latest ACTIVE one.

use crate::decision::Answer;
use crate::reject::Reject;
use crate::state::State;
use windlass_model::definition::{DefinitionKey, DefinitionRef};
use windlass_model::id::Name;
use windlass_model::status::DefinitionStatus;

pub(crate) fn read(state: &State, which: &DefinitionRef) -> Result<Answer, Reject> {
    let (key, written) = match which {
        DefinitionRef::Exact(key) => (Some(key), key.to_string()),
        DefinitionRef::Latest(family) => (latest(state, family), family.to_string()),
    };
    key.and_then(|key| state.definition_view(key))
        .map(Answer::Definition)
        .ok_or(Reject::DefinitionNotDescribable(written))
}

/// A family's highest ACTIVE revision.
pub(crate) fn latest<'a>(state: &'a State, family: &Name) -> Option<&'a DefinitionKey> {
    let active = state.index.definitions.get(&DefinitionStatus::Active)?;
    active.range(revisions(family)).next_back()
}

/// Every revision a family can have.
pub(crate) fn revisions(family: &Name) -> std::ops::RangeInclusive<DefinitionKey> {
    let key = |revision| DefinitionKey {
        family: family.clone(),
        revision,
    };
    key(0)..=key(u32::MAX)
}
