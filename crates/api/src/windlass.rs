//! What ECS has no operation for: target `Windlass.<Operation>` at the same door, signed alike.
//! Documented in docs/windlass-api.md; the CLI uses nothing else.

mod history;
mod images;
mod keys;
mod logs;
mod nodes;
mod registries;
mod run;
mod status;
mod stop;

use crate::caller::Caller;
use crate::door::{Answer, Door, respond};
use crate::local::LocalError;
use crate::ops::Call;
use http::HeaderMap;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_wire::{ApiError, ErrorCode, messages};

const JSON: &str = "application/x-amz-json-1.1";

/// Operations whose request body is streamed to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upload {
    LoadImage,
}

impl Upload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Upload::LoadImage => "LoadImage",
        }
    }
}

/// The one list of operations: what answers each, and the names that calls are counted by.
macro_rules! served {
    ($call:ident: $($name:literal => $answer:expr,)+) => {
        const NAMES: &[&str] = &[$($name),+];

        async fn answer_of($call: &Call<'_>, name: &str) -> Option<Result<Answer, ApiError>> {
            Some(match name {
                $($name => $answer,)+
                _ => return None,
            })
        }
    };
}

served! { call:
    "AddNode" => nodes::add(call).await,
    "Backup" => status::backup(call).await,
    "CreateKey" => keys::create(call).await,
    "DescribeHistory" => history::describe(call).await,
    "FindTask" => history::find_task(call).await,
    "GetImageUsage" => images::usage(call).await,
    "GetLogs" => logs::get(call).await,
    "GetStatus" => status::get(call),
    "ImportKey" => keys::import(call).await,
    "ImportRootfs" => images::import_rootfs(call).await,
    "ListImages" => images::list(call).await,
    "ListKeys" => keys::list(call),
    "ListNodes" => nodes::list(call).await,
    "LoginRegistry" => registries::login(call).await,
    "LogoutRegistry" => registries::logout(call).await,
    "PruneImages" => images::prune(call).await,
    "PullImage" => images::pull(call).await,
    "RemoveNode" => nodes::remove(call).await,
    "RemoveImage" => images::remove(call).await,
    "RemoveKey" => keys::remove(call).await,
    "RunTask" => Box::pin(run::run_task(call)).await,
    "StopEverything" => nodes::stop_everything(call).await,
    "StopTask" => stop::task(call).await,
    "TagImage" => images::tag(call).await,
}

pub(crate) fn known_name(name: &str) -> Option<&'static str> {
    NAMES.iter().copied().find(|known| *known == name)
}

/// Whether the request is an upload. Its signature covers the digest that it declares, which the
/// bytes are held against as they arrive.
pub(crate) fn streamed_upload(headers: &HeaderMap) -> Option<Upload> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    (target == "Windlass.LoadImage").then_some(Upload::LoadImage)
}

pub(crate) async fn upload(
    door: &Door,
    operation: Upload,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Answer, ApiError> {
    match operation {
        Upload::LoadImage => images::load(door, headers, body).await,
    }
}

pub(crate) async fn answer(
    door: &Door,
    caller: &Caller,
    name: &str,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let call = Call { door, caller, body };
    let answered = answer_of(&call, name).await;
    answered.unwrap_or_else(|| {
        let name = format!("Windlass.{name}");
        Err(messages::request::unknown_operation(&name))
    })
}

/// A request's body; an empty one is `{}`.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|err| ApiError::new(ErrorCode::Serialization, format!("{err}.")))
}

fn json<T: Serialize>(value: &T) -> Result<Answer, ApiError> {
    let body = serde_json::to_vec(value)
        .map_err(|err| ApiError::new(ErrorCode::Server, format!("Rendering the answer: {err}.")))?;
    Ok(respond(200, JSON, body))
}

fn local_error(err: LocalError) -> ApiError {
    let code = match err {
        LocalError::NotFound(_) => ErrorCode::ResourceNotFound,
        LocalError::Refused(_) => ErrorCode::InvalidParameter,
        LocalError::Registry(_) => ErrorCode::Client,
        LocalError::Failed(_) => ErrorCode::Server,
    };
    ApiError::new(code, err.to_string())
}
