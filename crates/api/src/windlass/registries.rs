//! The server's passwords for registries. No answer holds one.

use super::{json, local_error, read};
use crate::door::Answer;
use crate::ops::Call;
use serde::Deserialize;
use windlass_wire::ApiError;

/// No `Debug`: a password is not shown by accident.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    registry: String,
    username: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logout {
    registry: String,
}

pub(super) async fn login(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Login {
        registry,
        username,
        password,
    } = read(call.body)?;
    let done = call.door.local.login(registry, username, password).await;
    done.map_err(local_error)?;
    json(&serde_json::json!({}))
}

pub(super) async fn logout(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Logout { registry } = read(call.body)?;
    let done = call.door.local.logout(registry).await;
    done.map_err(local_error)?;
    json(&serde_json::json!({}))
}
