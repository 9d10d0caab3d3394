//! ListTagsForResource.

use crate::decision::Answer;
use crate::reject::Reject;
use crate::state::State;
use crate::tag_resource;
use windlass_model::command::Resource;

pub(crate) fn read(state: &State, resource: &Resource) -> Result<Answer, Reject> {
    tag_resource::find(state, resource).map(|row| Answer::Tags(row.tags().to_vec()))
}
