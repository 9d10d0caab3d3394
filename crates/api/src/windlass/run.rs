//! RunTask with what ECS has no member for.

use super::{json, read};
use crate::door::Answer;
use crate::ops::{Call, run_task};
use serde::Deserialize;
use windlass_model::pull::{PullBehavior, UnknownBehavior};
use windlass_wire::{ApiError, ErrorCode};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    /// In place of the node's setting.
    pull: Option<String>,
    /// As ECS takes it.
    request: serde_json::Value,
}

pub(super) async fn run_task(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Run { pull, request } = read(call.body)?;
    let pull = pull.map(|name| name.parse::<PullBehavior>()).transpose();
    let pull = pull.map_err(|err: UnknownBehavior| ApiError::invalid_parameter(err.to_string()))?;
    let body = serde_json::to_vec(&request)
        .map_err(|err| ApiError::new(ErrorCode::Serialization, format!("{err}.")))?;
    let inner = Call {
        body: &body,
        ..*call
    };
    json(&run_task::run(&inner, inner.read()?, pull).await?)
}
