//! StopTask with a time of the caller's own, which ECS's has not.

use super::{json, read};
use crate::door::Answer;
use crate::ops::describe_tasks::show;
use crate::ops::{Call, unexpected};
use serde::Deserialize;
use serde_json::json;
use windlass_cluster::Answer as Decided;
use windlass_model::command::{Command, HurryStop, StopTask};
use windlass_model::id::TaskId;
use windlass_wire::ApiError;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    /// A whole id.
    task: String,
    reason: Option<String>,
    /// Seconds until what still runs is killed, where the definition gives more.
    timeout_seconds: u32,
}

pub(super) async fn task(call: &Call<'_>) -> Result<Answer, ApiError> {
    let request: Stop = read(call.body)?;
    let task: TaskId = request.task.parse().map_err(|err| {
        ApiError::invalid_parameter(format!("{err}. FindTask gives the id of a prefix."))
    })?;
    let Decided::Task(view) = call.ask(Command::FindTask(task.to_string())).await? else {
        return Err(ApiError::invalid_parameter(
            "The referenced task was not found.",
        ));
    };
    let stop = StopTask {
        cluster: view.spec.cluster.clone(),
        task,
        reason: request.reason,
    };
    call.ask(Command::StopTask(stop)).await?;
    let hurry = HurryStop {
        task: Some(task),
        within_s: request.timeout_seconds,
    };
    call.ask(Command::HurryStop(hurry)).await?;
    match call.ask(Command::FindTask(task.to_string())).await? {
        Decided::Task(view) => json(&json!({ "task": show(call.scope(), &view, true) })),
        other => Err(unexpected(&other)),
    }
}
