//! ListTaskDefinitionFamilies: names. Here `familyPrefix` is a true prefix.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::{Command, ListTaskDefinitionFamilies};
use windlass_model::id::Name;
use windlass_wire::ops::list_task_definition_families::{
    ListTaskDefinitionFamiliesRequest, ListTaskDefinitionFamiliesResponse,
    TaskDefinitionFamilyStatus,
};
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<ListTaskDefinitionFamiliesRequest>,
) -> Result<ListTaskDefinitionFamiliesResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let active = match request.status {
        None | Some(TaskDefinitionFamilyStatus::All) => None,
        Some(TaskDefinitionFamilyStatus::Active) => Some(true),
        Some(TaskDefinitionFamilyStatus::Inactive) => Some(false),
        Some(TaskDefinitionFamilyStatus::Other(other)) => {
            return Err(ApiError::invalid_parameter(format!(
                "Invalid status '{other}'. It should be one of [ACTIVE, INACTIVE, ALL]."
            )));
        }
    };
    let prefix = request.family_prefix.filter(|prefix| !prefix.is_empty());
    if prefix
        .as_deref()
        .is_some_and(|prefix| Name::new(prefix).is_err())
    {
        return Err(messages::task_definition::family_invalid());
    }
    let query = call.query(format!("ListTaskDefinitionFamilies {prefix:?} {active:?}"));
    let tokens = &call.door.tokens;
    let page = tokens.page(&query, request.max_results, request.next_token.as_deref())?;
    let list = ListTaskDefinitionFamilies {
        prefix,
        active,
        page,
    };
    match call.ask(Command::ListTaskDefinitionFamilies(list)).await? {
        Answer::Names { names, more } => Ok(ListTaskDefinitionFamiliesResponse {
            next_token: names
                .last()
                .filter(|_| more)
                .map(|last| tokens.token(&query, last)),
            families: Some(names),
        }),
        other => Err(unexpected(&other)),
    }
}
