//! DescribeTaskDefinition: one revision, or a family's latest ACTIVE one.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::convert::{identifier, show_definition, show_tags};
use windlass_wire::ops::describe_task_definition::{
    DescribeTaskDefinitionRequest, DescribeTaskDefinitionResponse, TaskDefinitionField,
};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<DescribeTaskDefinitionRequest>,
) -> Result<DescribeTaskDefinitionResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let which = request.task_definition.unwrap_or_default();
    let which = identifier::definition(call.scope(), &which)?;
    let with_tags = request
        .include
        .unwrap_or_default()
        .contains(&TaskDefinitionField::Tags);
    match call.ask(Command::DescribeTaskDefinition(which)).await? {
        Answer::Definition(view) => Ok(DescribeTaskDefinitionResponse {
            task_definition: Some(show_definition(call.scope(), &view.definition, &view.state)),
            tags: with_tags.then(|| show_tags(&view.state.tags)),
        }),
        other => Err(unexpected(&other)),
    }
}
