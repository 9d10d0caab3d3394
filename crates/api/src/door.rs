//! One request: verified, then routed by the service it is signed for and the operation it names.

use crate::caller::Caller;
use crate::keys::{AccessKey, Keys};
use crate::limits::{self, UploadPace};
use crate::local::Local;
use crate::metrics::Metrics;
use crate::ops::{self, Call};
use crate::page::PageTokens;
use crate::places::{Full, Held, Places};
use crate::protocol::{JSON, Protocol, XML, refuse_other_service};
use crate::revocation::until_removed;
use crate::sigv4::{Body, Claim, Deny};
use crate::unsigned::Cached;
use crate::{metrics, sts, unsigned, windlass};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Incoming};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;
use windlass_model::arn::Scope;
use windlass_server::Handle;
use windlass_wire::check::quoted;
use windlass_wire::{ApiError, ErrorCode, Operation, messages};

pub(crate) type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// Everything a request may need.
pub(crate) struct Door {
    pub(crate) scope: Scope,
    pub(crate) leader: Handle,
    pub(crate) local: Arc<dyn Local>,
    pub(crate) keys: Keys,
    pub(crate) tokens: PageTokens,
    pub(crate) upload_pace: UploadPace,
    pub(crate) backup_label: Vec<u8>,
    pub(crate) places: Arc<Places>,
    pub(crate) metrics: Metrics,
    pub(crate) cached: Cached,
    pub(crate) backups: Arc<Semaphore>,
}

/// What a request may have of the server before anybody knows whose it is.
pub(crate) struct Guest {
    /// What it holds of the memory for all requests.
    pub(crate) held: Held,
    /// Bounds how many bodies of one connection are held at a time: one while it is a stranger's.
    pub(crate) bodies: Arc<Semaphore>,
    /// What it asks for, once its signature held.
    pub(crate) operation: &'static str,
}

impl Guest {
    fn authenticated(&self) {
        if self.held.authenticated() {
            let more = limits::BODIES_PER_CONNECTION_MAX - 1;
            self.bodies.add_permits(more);
        }
    }
}

impl Door {
    pub(crate) async fn answer(
        self: Arc<Door>,
        request: Request<Incoming>,
        mut guest: Guest,
    ) -> Answer {
        let begun = Instant::now();
        let request_id = request_id();
        let protocol = Protocol::of(request.headers());
        let (parts, mut body) = request.into_parts();
        if let Some(page) = unsigned::page(&parts) {
            return unsigned::answer(&self, page, &parts, guest.held.connection()).await;
        }
        let call = self.route(&parts, &mut body, &mut guest, &request_id);
        let answer = Box::pin(call).await;
        let outcome = answer
            .as_ref()
            .map_or_else(|err| err.code.as_str(), |_| "ok");
        self.metrics
            .record(guest.operation, outcome, begun.elapsed());
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(err) => {
                tracing::debug!(code = err.code.as_str(), message = err.message, "refused");
                drop((parts, guest));
                read_on(&mut body).await;
                protocol.refuse(&err, &request_id)
            }
        };
        let headers = answer.headers_mut();
        if let Ok(id) = request_id.parse() {
            headers.insert("x-amzn-requestid", id);
        }
        answer
    }

    /// What the head of a request says is judged before a byte of its body is kept: a stranger
    /// costs no memory.
    async fn route(
        &self,
        parts: &Parts,
        body: &mut Incoming,
        guest: &mut Guest,
        request_id: &str,
    ) -> Result<Answer, ApiError> {
        let head = head_bytes(parts).saturating_add(limits::REQUEST_COST_BYTES);
        guest.held.take(head).await.map_err(throttled)?;
        let claim = Claim::parse(&parts.headers).map_err(denied)?;
        refuse_other_service(claim.service)?;
        let key = self.keys.find(claim.access_key);
        let key = key.ok_or_else(|| denied(Deny::UnknownKey))?;
        claim
            .check_head(parts, &key, now_ms() / 1_000)
            .map_err(denied)?;
        let caller = self.caller(&claim, &key);
        self.check_region(&caller)?;
        let upload = windlass::streamed_upload(&parts.headers);
        if let Some(operation) = upload.filter(|_| caller.service == "ecs") {
            let signed = claim.check_signature(parts, Body::Declared, &key);
            signed.map_err(denied)?;
            guest.authenticated();
            guest.operation = operation.name();
            let upload = windlass::upload(self, operation, &parts.headers, body);
            return tokio::select! {
                answer = upload => answer,
                () = self.keys.removed(key.clone()) => Err(denied(Deny::UnknownKey)),
            };
        }
        // Held until the call is answered, and never closed.
        let _turn = guest.bodies.acquire().await;
        let bytes = read_body(body, body_bytes_max(&parts.headers), &mut guest.held).await?;
        let signed = claim.check_signature(parts, Body::Bytes(&bytes), &key);
        signed.map_err(denied)?;
        guest.authenticated();
        guest.operation = operation_of(&caller, &parts.headers);
        if parts.method != http::Method::POST {
            return Err(messages::request::unknown_operation(parts.method.as_str()));
        }
        if caller.service == "sts" {
            let (status, body) = sts::answer(&self.scope, &caller, &bytes, request_id);
            return Ok(respond(status, XML, body.into_bytes()));
        }
        let target = target(&parts.headers)?;
        if let Some(name) = target.strip_prefix("Windlass.") {
            let answer = windlass::answer(self, &caller, name, &bytes).await?;
            return Ok(answer.map(|body| until_removed(body, &self.keys, &key)));
        }
        let operation = Operation::from_target(target)
            .ok_or_else(|| messages::request::unknown_operation(target))?;
        let call = Call {
            door: self,
            caller: &caller,
            body: &bytes,
        };
        let body = ops::answer(operation, &call).await?;
        Ok(respond(200, JSON, body))
    }

    pub(crate) fn user_arn(&self, name: &str) -> String {
        format!("arn:aws:iam::{}:user/{name}", self.scope.account)
    }

    fn caller(&self, claim: &Claim<'_>, key: &AccessKey) -> Caller {
        Caller {
            access_key: key.id.clone(),
            arn: self.user_arn(&key.user),
            region: claim.region.to_owned(),
            service: claim.service.to_owned(),
        }
    }

    /// A call for another region is refused naming both.
    fn check_region(&self, caller: &Caller) -> Result<(), ApiError> {
        let here = &self.scope.region;
        if caller.region == *here {
            return Ok(());
        }
        let message = format!(
            "Credential should be scoped to a valid region: this endpoint serves {} in region \
             {here}, not in region {}.",
            caller.service,
            quoted(&caller.region)
        );
        Err(ApiError::new(ErrorCode::InvalidSignature, message))
    }
}

fn denied(deny: Deny) -> ApiError {
    match deny {
        Deny::Missing => messages::request::signature_missing(),
        Deny::Incomplete(what) => messages::request::signature_incomplete(what),
        Deny::UnknownKey | Deny::BadToken => messages::request::client_unrecognized(),
        Deny::Mismatch => messages::request::signature_mismatch(),
        Deny::Skewed => ApiError::new(
            ErrorCode::InvalidSignature,
            "Signature expired or not yet current: the request's time and this server's differ by \
             more than 5 minutes. Check the clocks.",
        ),
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// What a verified call is counted as.
fn operation_of(caller: &Caller, headers: &HeaderMap) -> &'static str {
    if caller.service == "sts" {
        return "GetCallerIdentity";
    }
    let target = target(headers).unwrap_or("");
    let own = target.strip_prefix("Windlass.");
    let own = own.map(|name| windlass::known_name(name).unwrap_or(metrics::UNKNOWN));
    let ecs = || Operation::from_target(target).map_or(metrics::UNKNOWN, |it| it.name());
    own.unwrap_or_else(ecs)
}

/// A call's operation: exactly one header may name it.
fn target(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all("x-amz-target").iter();
    let target = values.next().and_then(|value| value.to_str().ok());
    match (target, values.next()) {
        (Some(target), None) => Ok(target),
        (None, None) => Err(messages::request::unknown_operation("")),
        _ => Err(messages::request::signature_incomplete(
            "'X-Amz-Target' is there twice",
        )),
    }
}

/// What a refused client still sends is read and dropped: one whose connection is closed while it
/// sends never reads the answer.
async fn read_on(body: &mut Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // Who sends for longer than this is cut.
    let _ = tokio::time::timeout(limits::READ_ON_TIMEOUT, rest).await;
}

/// A definition that is too long is read far enough to be refused in ECS's words.
fn body_bytes_max(headers: &HeaderMap) -> usize {
    let target = target(headers).ok().and_then(Operation::from_target);
    match target {
        Some(Operation::RegisterTaskDefinition) => limits::BODY_BYTES_MAX,
        _ => limits::REQUEST_BYTES_MAX,
    }
}

/// What the head of a request takes, roughly.
fn head_bytes(parts: &Parts) -> usize {
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len());
    let uri = parts.uri.path_and_query();
    headers.sum::<usize>() + uri.map_or(0, |uri| uri.as_str().len())
}

fn throttled(_: Full) -> ApiError {
    messages::request::throttled()
}

/// The whole body. What has arrived counts as held, not what is announced: a stranger who announces
/// much takes nothing.
async fn read_body(
    body: &mut Incoming,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Vec<u8>, ApiError> {
    // A length that is told is believed: there is no need to read so far.
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > bytes_max {
        return Err(messages::request::too_large(bytes_max));
    }
    let whole = async {
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|err| {
                let message = format!("The request's body could not be read: {err}.");
                ApiError::new(ErrorCode::Serialization, message)
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.len() > bytes_max - whole.len() {
                return Err(messages::request::too_large(bytes_max));
            }
            held.take(data.len()).await.map_err(throttled)?;
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    };
    let late = || {
        let message = "The request's body did not arrive in time.";
        ApiError::new(ErrorCode::Serialization, message)
    };
    let arrived = tokio::time::timeout(limits::BODY_TIMEOUT, whole).await;
    arrived.map_err(|_| late())?
}

pub(crate) fn respond(status: u16, content_type: &'static str, body: Vec<u8>) -> Answer {
    let body = http_body_util::Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed();
    stream(status, content_type, body)
}

/// An answer whose body comes in pieces.
pub(crate) fn stream(
    status: u16,
    content_type: &'static str,
    body: BoxBody<Bytes, std::io::Error>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = http::HeaderValue::from_static(content_type);
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    answer
}

fn request_id() -> String {
    let id: u128 = rand::random();
    let h = format!("{id:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &h[..8],
        &h[8..12],
        &h[12..16],
        &h[16..20],
        &h[20..]
    )
}
