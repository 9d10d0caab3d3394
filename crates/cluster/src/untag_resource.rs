//! UntagResource: removes tags by key. A key that is not there is no error.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::reject::Reject;
use crate::tag_resource;
use windlass_model::command::Resource;

pub(crate) fn decide(
    draft: &mut Draft,
    resource: &Resource,
    keys: &[String],
) -> Result<Answer, Reject> {
    let row = tag_resource::find(draft.state, resource)?;
    let left: Vec<_> = row
        .tags()
        .iter()
        .filter(|tag| !keys.contains(&tag.key))
        .cloned()
        .collect();
    if left.len() < row.tags().len() {
        draft.put(row.with(left));
    }
    Ok(Answer::Done)
}
