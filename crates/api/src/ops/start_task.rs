//! StartTask: one task on each named instance, past the scheduler.

use super::describe_tasks::show;
use super::run_task::failures;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::Command;
use windlass_wire::convert;
use windlass_wire::ops::start_task::{StartTaskRequest, StartTaskResponse};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<StartTaskRequest>,
) -> Result<StartTaskResponse, ApiError> {
    let start = convert::start_task(call.scope(), input.request.clone())?;
    input.checked(ErrorCode::InvalidParameter)?;
    let cluster = start.task.cluster.clone();
    match call.ask(Command::StartTask(Box::new(start))).await? {
        Answer::Run { tasks, refused } => Ok(StartTaskResponse {
            tasks: Some(
                tasks
                    .iter()
                    .map(|task| show(call.scope(), task, true))
                    .collect(),
            ),
            failures: Some(failures(call.scope(), &cluster, &refused)),
        }),
        other => Err(unexpected(&other)),
    }
}
