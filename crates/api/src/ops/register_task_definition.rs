//! RegisterTaskDefinition: every call makes a new revision.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::convert::{self, show_definition, show_tags};
use windlass_wire::ops::register_task_definition::{
    RegisterTaskDefinitionRequest, RegisterTaskDefinitionResponse,
};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<RegisterTaskDefinitionRequest>,
) -> Result<RegisterTaskDefinitionResponse, ApiError> {
    let (request, net) = input.split();
    let register = convert::register_task_definition(call.scope(), request, call.body.len())?;
    net.refuse(ErrorCode::Client)?;
    match call
        .ask(Command::RegisterTaskDefinition(Box::new(register)))
        .await?
    {
        Answer::Definition(view) => Ok(RegisterTaskDefinitionResponse {
            task_definition: Some(show_definition(call.scope(), &view.definition, &view.state)),
            tags: (!view.state.tags.is_empty()).then(|| show_tags(&view.state.tags)),
        }),
        other => Err(unexpected(&other)),
    }
}
