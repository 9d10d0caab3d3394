//! RunTask: places and starts up to ten tasks. What finds no place is a failure, not an error.

use super::describe_tasks::show;
use crate::ops::{Call, Input, unexpected};
use sha2::{Digest, Sha256};
use windlass_cluster::Answer;
use windlass_model::arn::Scope;
use windlass_model::command::Command;
use windlass_model::id::Name;
use windlass_model::placement::Refused;
use windlass_model::pull::PullBehavior;
use windlass_model::task::Launch;
use windlass_wire::convert::{
    self, fargate_refusal_reason, identifier, refusal_detail, refusal_reason,
};
use windlass_wire::ops::run_task::{RunTaskRequest, RunTaskResponse};
use windlass_wire::shapes::failure::Failure;
use windlass_wire::shapes::task::Task;
use windlass_wire::{ApiError, ErrorCode};

pub(super) async fn call(
    call: &Call<'_>,
    input: Input<RunTaskRequest>,
) -> Result<RunTaskResponse, ApiError> {
    run(call, input, None).await
}

/// Runs the tasks; `pull` is what ECS has no member for.
pub(crate) async fn run(
    call: &Call<'_>,
    input: Input<RunTaskRequest>,
    pull: Option<PullBehavior>,
) -> Result<RunTaskResponse, ApiError> {
    // The steps of a start are logged for `make bench`, which prints where its time goes.
    tracing::debug!(target: "timing", "call verified and read");
    let (mut request, net) = input.split();
    let fingerprint = fingerprint(&mut request, pull)?;
    let cluster = identifier::cluster(call.scope(), request.cluster.as_deref())?;
    let read = convert::run_task(call.scope(), request, fingerprint);
    let mut run = call.in_cluster(&cluster, read).await?;
    run.task.pull = pull;
    net.refuse(ErrorCode::InvalidParameter)?;
    let answer = call.ask(Command::RunTask(Box::new(run))).await?;
    let (tasks, failures) = started(call.scope(), &cluster, &answer)?;
    Ok(RunTaskResponse {
        tasks: Some(tasks),
        failures: Some(failures),
    })
}

/// What was placed and what was not, for RunTask and StartTask.
pub(super) fn started(
    scope: &Scope,
    cluster: &Name,
    answer: &Answer,
) -> Result<(Vec<Task>, Vec<Failure>), ApiError> {
    let Answer::Run {
        launch,
        tasks,
        refused,
    } = answer
    else {
        return Err(unexpected(answer));
    };
    let tasks = tasks.iter().map(|task| show(scope, task, true)).collect();
    let failures = match launch {
        Launch::Fargate => refused.first().map(of_fargate).into_iter().collect(),
        Launch::Ec2 | Launch::External => failures(scope, cluster, refused),
    };
    Ok((tasks, failures))
}

/// Of everything but the token: the same token with another request is a conflict.
fn fingerprint(
    request: &mut RunTaskRequest,
    pull: Option<PullBehavior>,
) -> Result<[u8; 32], ApiError> {
    let token = request.client_token.take();
    let text = serde_json::to_vec(&(&*request, pull.map(PullBehavior::name)));
    request.client_token = token;
    let text = text
        .map_err(|err| ApiError::new(ErrorCode::Server, format!("Reading the request: {err}.")))?;
    Ok(Sha256::digest(text).into())
}

fn failures(scope: &Scope, cluster: &Name, refused: &[Refused]) -> Vec<Failure> {
    refused
        .iter()
        .map(|refused| Failure {
            arn: Some(scope.instance(cluster, refused.instance)),
            reason: Some(refusal_reason(&refused.refusal)),
            detail: refusal_detail(&refused.refusal),
        })
        .collect()
}

/// One failure for all: Fargate has no container instances that could be named. The detail is of
/// the node that came nearest.
fn of_fargate(refused: &Refused) -> Failure {
    Failure {
        arn: None,
        reason: Some(fargate_refusal_reason(&refused.refusal)),
        detail: refusal_detail(&refused.refusal),
    }
}
