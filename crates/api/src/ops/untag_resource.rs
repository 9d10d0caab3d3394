//! UntagResource: removes tags; keys that are not there are ignored.

use crate::ops::{Call, Input};
use windlass_model::command::Command;
use windlass_wire::convert::{identifier, tag_keys};
use windlass_wire::ops::untag_resource::{UntagResourceRequest, UntagResourceResponse};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<UntagResourceRequest>,
) -> Result<UntagResourceResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let arn = request.resource_arn.unwrap_or_default();
    let resource = identifier::resource(call.scope(), &arn)?;
    let keys = tag_keys(request.tag_keys)?;
    call.ask(Command::Untag { resource, keys }).await?;
    Ok(UntagResourceResponse {})
}
