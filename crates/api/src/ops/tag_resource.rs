//! TagResource: adds or overwrites tags.

use crate::ops::{Call, Input};
use windlass_model::command::Command;
use windlass_wire::convert::{identifier, tags};
use windlass_wire::ops::tag_resource::{TagResourceRequest, TagResourceResponse};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<TagResourceRequest>,
) -> Result<TagResourceResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let arn = request.resource_arn.unwrap_or_default();
    let resource = identifier::resource(call.scope(), &arn)?;
    let tags = tags(request.tags)?;
    call.ask(Command::Tag { resource, tags }).await?;
    Ok(TagResourceResponse {})
}
