//! DeregisterTaskDefinition: a revision becomes INACTIVE; what runs of it goes on.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_model::definition::DefinitionRef;
use windlass_wire::convert::{identifier, show_definition};
use windlass_wire::ops::deregister_task_definition::{
    DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse,
};
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<DeregisterTaskDefinitionRequest>,
) -> Result<DeregisterTaskDefinitionResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let which = request.task_definition.unwrap_or_default();
    let DefinitionRef::Exact(key) = identifier::definition(call.scope(), &which)? else {
        return Err(messages::task_definition::revision_missing());
    };
    match call.ask(Command::DeregisterTaskDefinition(key)).await? {
        Answer::Definition(view) => Ok(DeregisterTaskDefinitionResponse {
            task_definition: Some(show_definition(call.scope(), &view.definition, &view.state)),
        }),
        other => Err(unexpected(&other)),
    }
}
