//! RunTask: places and starts up to ten tasks. What finds no place is a failure, not an error.

use super::describe_tasks::show;
use crate::ops::{Call, Input, unexpected};
use sha2::{Digest, Sha256};
use windlass_cluster::Answer;
use windlass_model::arn::Scope;
use windlass_model::command::Command;
use windlass_model::id::Name;
use windlass_model::placement::{Refusal, Refused};
use windlass_wire::convert::{self, refusal_reason};
use windlass_wire::ops::run_task::{RunTaskRequest, RunTaskResponse};
use windlass_wire::shapes::failure::Failure;
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<RunTaskRequest>,
) -> Result<RunTaskResponse, ApiError> {
    // The steps of a start are logged for `make bench`, which prints where its time goes.
    tracing::debug!(target: "timing", "call verified and read");
    let fingerprint = fingerprint(&input.request)?;
    let run = convert::run_task(call.scope(), input.request.clone(), fingerprint)?;
    input.checked(ErrorCode::InvalidParameter)?;
    let cluster = run.task.cluster.clone();
    match call.ask(Command::RunTask(Box::new(run))).await? {
        Answer::Run { tasks, refused } => Ok(RunTaskResponse {
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

/// Of everything but the token: the same token with another request is a conflict.
fn fingerprint(request: &RunTaskRequest) -> Result<[u8; 32], ApiError> {
    let without_token = RunTaskRequest {
        client_token: None,
        ..request.clone()
    };
    let text = serde_json::to_vec(&without_token)
        .map_err(|err| ApiError::new(ErrorCode::Server, format!("Reading the request: {err}.")))?;
    Ok(Sha256::digest(text).into())
}

pub(super) fn failures(scope: &Scope, cluster: &Name, refused: &[Refused]) -> Vec<Failure> {
    refused
        .iter()
        .map(|refused| Failure {
            arn: Some(scope.instance(cluster, refused.instance)),
            reason: Some(refusal_reason(&refused.refusal)),
            detail: detail(&refused.refusal),
        })
        .collect()
}

/// What ECS leaves to guesswork: how much was needed, and how much there was.
fn detail(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::Cpu { need, free } => Some(format!(
            "needs {need} CPU units, {free} are free; `windlass up --cpu-overcommit N` lets tasks \
             share processors"
        )),
        Refusal::Memory { need, free } => Some(format!("needs {need} MiB, {free} are free")),
        Refusal::Port(port) => Some(format!("host port {} is in use", port.port)),
        Refusal::Attribute(name) => Some(format!("the instance does not have attribute {name}")),
        Refusal::Constraint(expression) => Some(format!("does not meet: {expression}")),
        Refusal::Unsupported(what) => Some(format!("{what} is not supported yet")),
        Refusal::AgentDisconnected | Refusal::Draining | Refusal::Inactive | Refusal::Missing => {
            None
        }
    }
}
