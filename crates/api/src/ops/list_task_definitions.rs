//! ListTaskDefinitions: ARNs of revisions, by family and number. `familyPrefix` is the full family.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::{Command, ListTaskDefinitions};
use windlass_model::id::Name;
use windlass_model::status::DefinitionStatus;
use windlass_wire::ops::list_task_definitions::{
    ListTaskDefinitionsRequest, ListTaskDefinitionsResponse,
};
use windlass_wire::shapes::service_deployment::SortOrder;
use windlass_wire::shapes::task_definition::TaskDefinitionStatus;
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<ListTaskDefinitionsRequest>,
) -> Result<ListTaskDefinitionsResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let status = match request.status {
        None | Some(TaskDefinitionStatus::Active) => DefinitionStatus::Active,
        Some(TaskDefinitionStatus::Inactive) => DefinitionStatus::Inactive,
        Some(TaskDefinitionStatus::DeleteInProgress) => DefinitionStatus::DeleteInProgress,
        Some(TaskDefinitionStatus::Other(other)) => {
            return Err(ApiError::invalid_parameter(format!(
                "Invalid status '{other}'. It should be one of [ACTIVE, INACTIVE, \
                 DELETE_IN_PROGRESS]."
            )));
        }
    };
    let descending = request.sort == Some(SortOrder::Desc);
    let family = request.family_prefix.filter(|family| !family.is_empty());
    if family
        .as_deref()
        .is_some_and(|family| Name::new(family).is_err())
    {
        return Err(messages::task_definition::family_invalid());
    }
    let query = call.query(format!(
        "ListTaskDefinitions {family:?} {} {descending}",
        status.as_str()
    ));
    let tokens = &call.door.tokens;
    let page = tokens.page(&query, request.max_results, request.next_token.as_deref())?;
    let list = ListTaskDefinitions {
        family,
        status,
        descending,
        page,
    };
    match call.ask(Command::ListTaskDefinitions(list)).await? {
        Answer::DefinitionKeys { keys, more } => Ok(ListTaskDefinitionsResponse {
            next_token: keys
                .last()
                .filter(|_| more)
                .map(|last| tokens.token(&query, &last.to_string())),
            task_definition_arns: Some(
                keys.iter()
                    .map(|key| call.scope().definition(key))
                    .collect(),
            ),
        }),
        other => Err(unexpected(&other)),
    }
}
