//! DescribeTasks: up to 100 whole records; unknown ones are failures.

use super::describe_clusters::missing_failure;
use crate::limits::PAGE_MAX;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::{Answer, TaskView};
use windlass_model::arn::Scope;
use windlass_model::command::Command;
use windlass_wire::convert::{TaskParts, identifier, show_task};
use windlass_wire::ops::describe_tasks::{DescribeTasksRequest, DescribeTasksResponse, TaskField};
use windlass_wire::shapes::task::Task;
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<DescribeTasksRequest>,
) -> Result<DescribeTasksResponse, ApiError> {
    let (request, net) = input.split();
    let given = request.tasks.unwrap_or_default();
    if given.is_empty() {
        return Err(messages::task::none_named());
    }
    if given.len() > PAGE_MAX {
        return Err(ApiError::invalid_parameter(
            "Tasks cannot be greater than 100.",
        ));
    }
    net.refuse(ErrorCode::InvalidParameter)?;
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let with_tags = request
        .include
        .unwrap_or_default()
        .contains(&TaskField::Tags);
    let mut failures = Vec::new();
    let mut tasks = Vec::new();
    for given in given {
        let read = identifier::task(call.scope(), &cluster, &given);
        match call.in_cluster(&cluster, read).await? {
            Some(task) => tasks.push(task),
            None if given.starts_with("arn:") => failures.push(missing_failure(given)),
            None => {
                let arn = call.scope().arn(&format!("task/{cluster}/{given}"));
                failures.push(missing_failure(arn));
            }
        }
    }
    match call
        .ask(Command::DescribeTasks {
            cluster: cluster.clone(),
            tasks,
        })
        .await?
    {
        Answer::Tasks { found, missing } => {
            failures.extend(
                missing
                    .iter()
                    .map(|task| missing_failure(call.scope().task(&cluster, *task))),
            );
            Ok(DescribeTasksResponse {
                tasks: Some(
                    found
                        .iter()
                        .map(|task| show(call.scope(), task, with_tags))
                        .collect(),
                ),
                failures: Some(failures),
            })
        }
        other => Err(unexpected(&other)),
    }
}

pub(crate) fn show(scope: &Scope, view: &TaskView, with_tags: bool) -> Task {
    let parts = TaskParts {
        spec: &view.spec,
        state: &view.state,
        definition: &view.definition,
        connected: view.connected,
    };
    show_task(scope, parts, with_tags)
}
