//! StartTask: one task on each named instance, past the scheduler.

use super::describe_clusters::missing_failure;
use super::run_task::started;
use crate::ops::{Call, Input};
use windlass_model::command::Command;
use windlass_wire::convert::{self, identifier};
use windlass_wire::ops::start_task::{StartTaskRequest, StartTaskResponse};
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<StartTaskRequest>,
) -> Result<StartTaskResponse, ApiError> {
    let (request, net) = input.split();
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let read = convert::start_task(call.scope(), request);
    let (start, missing) = call.in_cluster(&cluster, read).await?;
    net.refuse(ErrorCode::InvalidParameter)?;
    let answer = call.ask(Command::StartTask(Box::new(start))).await?;
    let (tasks, mut failures) = started(call.scope(), &cluster, &answer)?;
    failures.extend(missing.into_iter().map(missing_failure));
    Ok(StartTaskResponse {
        tasks: Some(tasks),
        failures: Some(failures),
    })
}
