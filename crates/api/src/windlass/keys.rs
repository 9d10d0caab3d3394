//! Access keys: list, create, import, remove. A secret is in one answer: that of the key's creation.

use super::{json, read};
use crate::door::{Answer, now_ms};
use crate::keys::{AccessKey, KeyError};
use crate::ops::Call;
use serde::Deserialize;
use serde_json::{Value, json};
use windlass_wire::{ApiError, ErrorCode};

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    name: String,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

#[derive(Deserialize)]
struct Removed {
    /// A name or an id.
    key: String,
}

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let keys = call.door.keys.list();
    let keys: Vec<Value> = keys.iter().map(|key| show(call, key)).collect();
    json(&json!({ "keys": keys }))
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Named { name } = read(call.body)?;
    let made = call.door.keys.create(&name, now_ms()).await;
    let made = made.map_err(refused)?;
    let mut shown = show(call, &made);
    shown["secretAccessKey"] = made.secret.clone().into();
    json(&json!({ "key": shown }))
}

pub(super) async fn import(call: &Call<'_>) -> Result<Answer, ApiError> {
    let request: Imported = read(call.body)?;
    let key = AccessKey {
        id: request.access_key_id,
        secret: request.secret_access_key,
        session_token: request.session_token,
        user: request.name,
        created_ms: Some(now_ms()),
        imported: true,
    };
    let added = call.door.keys.add(key).await.map_err(refused)?;
    json(&json!({ "key": show(call, &added) }))
}

pub(super) async fn remove(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Removed { key } = read(call.body)?;
    call.door.keys.remove(&key).await.map_err(refused)?;
    json(&json!({}))
}

fn show(call: &Call<'_>, key: &AccessKey) -> Value {
    json!({
        "name": key.user,
        "accessKeyId": key.id,
        "arn": call.door.user_arn(&key.user),
        "createdAtMs": key.created_ms,
        "imported": key.imported,
        "temporary": key.session_token.is_some(),
        "caller": key.id == call.caller.access_key,
    })
}

fn refused(err: KeyError) -> ApiError {
    let code = match err {
        KeyError::NotFound(_) => ErrorCode::ResourceNotFound,
        KeyError::TooMany => ErrorCode::LimitExceeded,
        KeyError::NotKept(_) => ErrorCode::Server,
        KeyError::BadName(_)
        | KeyError::NameTaken(_)
        | KeyError::NameReserved(_)
        | KeyError::IdTaken { .. }
        | KeyError::BadId
        | KeyError::BadSecret
        | KeyError::Last => ErrorCode::InvalidParameter,
    };
    ApiError::new(code, err.to_string())
}
