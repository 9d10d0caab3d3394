//! ListTaskDefinitions: revisions of one status by family, then number; descending reverses both.

use crate::decision::Answer;
use crate::reject::Reject;
use crate::state::State;
use crate::view;
use windlass_model::command::ListTaskDefinitions;
use windlass_model::definition::DefinitionKey;
use windlass_model::id::Name;

pub(crate) fn read(state: &State, list: &ListTaskDefinitions) -> Result<Answer, Reject> {
    let after = list.page.after.as_deref().map(parse_key).transpose()?;
    // The whole name: what is no name matches no family.
    let family = list.family.as_deref();
    let keys = state.index.definitions.get(&list.status);
    let keys = keys.into_iter().flatten();
    let wanted = |key: &&DefinitionKey| {
        let passed = match &after {
            None => true,
            Some(after) if list.descending => *key < after,
            Some(after) => *key > after,
        };
        passed && family.is_none_or(|family| key.family.as_str() == family)
    };
    let (keys, more) = if list.descending {
        view::page(keys.rev().filter(wanted).cloned(), list.page.limit)
    } else {
        view::page(keys.filter(wanted).cloned(), list.page.limit)
    };
    Ok(Answer::DefinitionKeys { keys, more })
}

fn parse_key(text: &str) -> Result<DefinitionKey, Reject> {
    let bad = || Reject::BadPage(text.to_owned());
    let (family, revision) = text.rsplit_once(':').ok_or_else(bad)?;
    Ok(DefinitionKey {
        family: Name::new(family).map_err(|_| bad())?,
        revision: revision.parse().map_err(|_| bad())?,
    })
}
