//! DeleteTaskDefinitions: up to ten INACTIVE revisions become DELETE_IN_PROGRESS.

use crate::ops::{Call, Input, unexpected};
use windlass_cluster::{Answer, DeleteFailure};
use windlass_model::command::Command;
use windlass_model::definition::DefinitionRef;
use windlass_model::limits::DELETE_DEFINITIONS_MAX;
use windlass_wire::convert::{identifier, show_definition};
use windlass_wire::ops::delete_task_definitions::{
    DeleteTaskDefinitionsRequest, DeleteTaskDefinitionsResponse,
};
use windlass_wire::shapes::failure::Failure;
use windlass_wire::{ApiError, ErrorCode};

const INVALID: &str = "The specified task definition identifier is invalid. Specify a valid name \
                       or ARN and try again.";
const NOT_FOUND: &str = "The specified task definition does not exist. Specify a valid account, \
                         family, revision and try again.";
const STILL_ACTIVE: &str = "The specified task definition is still in ACTIVE status. Please \
                            deregister the target and try again.";

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<DeleteTaskDefinitionsRequest>,
) -> Result<DeleteTaskDefinitionsResponse, ApiError> {
    let (request, net) = input.split();
    let given = request.task_definitions.unwrap_or_default();
    if given.is_empty() {
        return Err(ApiError::invalid_parameter(
            "size of TaskDefinition references list must be greater than 0",
        ));
    }
    if given.len() > DELETE_DEFINITIONS_MAX {
        return Err(ApiError::invalid_parameter(
            "Size of TaskDefinition references list cannot exceed 10",
        ));
    }
    net.refuse(ErrorCode::InvalidParameter)?;
    let failure = |arn: String, reason: &str| Failure {
        arn: Some(arn),
        reason: Some(reason.into()),
        detail: None,
    };
    let mut failures = Vec::new();
    let mut keys = Vec::new();
    for given in given {
        match identifier::definition(call.scope(), &given) {
            Ok(DefinitionRef::Exact(key)) => keys.push((given, key)),
            Err(_) if identifier::is_definition_elsewhere(call.scope(), &given) => {
                failures.push(failure(given, NOT_FOUND));
            }
            Ok(DefinitionRef::Latest(_)) | Err(_) => failures.push(failure(given, INVALID)),
        }
    }
    let asked = keys.iter().map(|(_, key)| key.clone()).collect();
    match call.ask(Command::DeleteTaskDefinitions(asked)).await? {
        Answer::Definitions {
            found,
            failures: refused,
        } => {
            for (key, why) in refused {
                let given = keys.iter().find(|(_, asked)| *asked == key);
                let arn =
                    given.map_or_else(|| call.scope().definition(&key), |(given, _)| given.clone());
                failures.push(failure(
                    arn,
                    match why {
                        DeleteFailure::NotFound => NOT_FOUND,
                        DeleteFailure::StillActive => STILL_ACTIVE,
                    },
                ));
            }
            let shown = found
                .iter()
                .map(|view| show_definition(call.scope(), &view.definition, &view.state));
            Ok(DeleteTaskDefinitionsResponse {
                task_definitions: Some(shown.collect()),
                failures: Some(failures),
            })
        }
        other => Err(unexpected(&other)),
    }
}
