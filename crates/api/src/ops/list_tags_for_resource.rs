//! ListTagsForResource: the tags of one ARN.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::convert::{identifier, show_tags};
use windlass_wire::ops::list_tags_for_resource::{
    ListTagsForResourceRequest, ListTagsForResourceResponse,
};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<ListTagsForResourceRequest>,
) -> Result<ListTagsForResourceResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let arn = request.resource_arn.unwrap_or_default();
    let resource = identifier::resource(call.scope(), &arn)?;
    match call.ask(Command::ListTags(resource)).await? {
        Answer::Tags(tags) => Ok(ListTagsForResourceResponse {
            tags: Some(show_tags(&tags)),
        }),
        other => Err(unexpected(&other)),
    }
}
