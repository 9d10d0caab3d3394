//! StopTask: asks that one task stop. The node does it, and reports.

use super::describe_tasks::show;
use crate::ops::{Call, Input, unexpected};
use windlass_cluster::Answer;
use windlass_model::command::{Command, StopTask};
use windlass_model::limits::REASON_CHARS_MAX;
use windlass_wire::convert::identifier;
use windlass_wire::ops::stop_task::{StopTaskRequest, StopTaskResponse};
use windlass_wire::{ApiError, ErrorCode, messages};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<StopTaskRequest>,
) -> Result<StopTaskResponse, ApiError> {
    let request = input.checked(ErrorCode::InvalidParameter)?;
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let given = request.task.unwrap_or_default();
    let read = identifier::task(call.scope(), &cluster, &given)
        .and_then(|id| id.ok_or_else(messages::task::not_found));
    let task = call.in_cluster(&cluster, read).await?;
    let reason = request
        .reason
        .filter(|reason| !reason.is_empty())
        .map(|reason| reason.chars().take(REASON_CHARS_MAX).collect());
    match call
        .ask(Command::StopTask(StopTask {
            cluster,
            task,
            reason,
        }))
        .await?
    {
        Answer::Task(view) => Ok(StopTaskResponse {
            task: Some(show(call.scope(), &view, false)),
        }),
        other => Err(unexpected(&other)),
    }
}
