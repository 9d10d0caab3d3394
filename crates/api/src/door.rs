//! One request: verified, then routed by the service it is signed for and the operation it names.

use crate::caller::{Caller, Keys};
use crate::limits;
use crate::local::Local;
use crate::ops::{self, Call};
use crate::page::PageTokens;
use crate::sigv4::{Body, Claim, Deny};
use crate::{sts, windlass};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use windlass_model::arn::Scope;
use windlass_server::Handle;
use windlass_wire::{ApiError, ErrorCode, Operation, messages};

pub(crate) type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// Everything a request may need.
pub(crate) struct Door {
    pub(crate) scope: Scope,
    pub(crate) leader: Handle,
    pub(crate) local: Arc<dyn Local>,
    pub(crate) keys: Keys,
    pub(crate) tokens: PageTokens,
}

const JSON: &str = "application/x-amz-json-1.1";
const XML: &str = "text/xml";

/// How an error is written: by the protocol of the service that was called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Json,
    Query,
}

impl Door {
    pub(crate) async fn answer(self: Arc<Door>, request: Request<Incoming>) -> Answer {
        let request_id = request_id();
        let protocol = protocol_of(request.headers());
        let (parts, mut body) = request.into_parts();
        let mut answer = match Box::pin(self.route(&parts, &mut body, &request_id)).await {
            Ok(answer) => answer,
            Err(err) => {
                tracing::debug!(code = err.code.as_str(), message = err.message, "refused");
                read_on(&mut body).await;
                refused(protocol, &err, &request_id)
            }
        };
        let headers = answer.headers_mut();
        if let Ok(id) = request_id.parse() {
            headers.insert("x-amzn-requestid", id);
        }
        answer
    }

    async fn route(
        &self,
        parts: &Parts,
        body: &mut Incoming,
        request_id: &str,
    ) -> Result<Answer, ApiError> {
        if let Some(operation) = windlass::streamed_upload(&parts.headers) {
            let caller = self.verify(parts, Body::Declared)?;
            self.check_service(&caller, "ecs")?;
            return windlass::upload(self, operation, &parts.headers, body).await;
        }
        let bytes = read_body(body).await?;
        let caller = self.verify(parts, Body::Bytes(&bytes))?;
        if parts.method != http::Method::POST {
            return Err(messages::request::unknown_operation(parts.method.as_str()));
        }
        if caller.service == "sts" {
            self.check_service(&caller, "sts")?;
            let (status, body) = sts::answer(&self.scope, &caller, &bytes, request_id);
            return Ok(respond(status, XML, body.into_bytes()));
        }
        self.check_service(&caller, "ecs")?;
        let target = target(&parts.headers)?;
        if let Some(name) = target.strip_prefix("Windlass.") {
            return windlass::answer(self, &caller, name, &bytes).await;
        }
        let operation = Operation::from_target(target)
            .ok_or_else(|| messages::request::unknown_operation(target))?;
        if operation != Operation::RegisterTaskDefinition && bytes.len() > limits::REQUEST_BYTES_MAX
        {
            return Err(messages::request::too_large(limits::REQUEST_BYTES_MAX));
        }
        let call = Call {
            door: self,
            caller: &caller,
            body: &bytes,
        };
        let body = ops::answer(operation, &call).await?;
        Ok(respond(200, JSON, body))
    }

    fn verify(&self, parts: &Parts, body: Body<'_>) -> Result<Caller, ApiError> {
        let claim = Claim::parse(&parts.headers).map_err(denied)?;
        let key = self.keys.find(claim.access_key);
        claim.verify(parts, body, key, now_s()).map_err(denied)?;
        let user = key.map_or("", |key| key.user.as_str());
        Ok(Caller {
            access_key: claim.access_key.to_owned(),
            arn: format!("arn:aws:iam::{}:user/{user}", self.scope.account),
            region: claim.region.to_owned(),
            service: claim.service.to_owned(),
        })
    }

    /// A call for another service or region is refused naming both.
    fn check_service(&self, caller: &Caller, served: &str) -> Result<(), ApiError> {
        let here = &self.scope.region;
        if caller.service == served && caller.region == *here {
            return Ok(());
        }
        let message = format!(
            "Credential should be scoped to a valid region and service: this endpoint serves ecs \
             and sts in region {here}, not {} in region {}.",
            caller.service, caller.region
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

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
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

async fn read_body(body: &mut Incoming) -> Result<Bytes, ApiError> {
    let limited = Limited::new(body, limits::BODY_BYTES_MAX);
    let collected = tokio::time::timeout(limits::BODY_TIMEOUT, limited.collect())
        .await
        .map_err(|_| {
            ApiError::new(
                ErrorCode::Serialization,
                "The request's body did not arrive in time.",
            )
        })?;
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(err) if err.is::<http_body_util::LengthLimitError>() => {
            Err(messages::request::too_large(limits::BODY_BYTES_MAX))
        }
        Err(err) => Err(ApiError::new(
            ErrorCode::Serialization,
            format!("The request's body could not be read: {err}."),
        )),
    }
}

/// The service named in the claim decides how an error is written, believed or not.
fn protocol_of(headers: &HeaderMap) -> Protocol {
    match Claim::parse(headers) {
        Ok(claim) if claim.service == "sts" => Protocol::Query,
        _ => Protocol::Json,
    }
}

fn refused(protocol: Protocol, err: &ApiError, request_id: &str) -> Answer {
    if protocol == Protocol::Query {
        let code = match err.code {
            ErrorCode::UnrecognizedClient => "InvalidClientTokenId",
            ErrorCode::InvalidSignature => "SignatureDoesNotMatch",
            ErrorCode::MissingAuthenticationToken => "MissingAuthenticationToken",
            ErrorCode::IncompleteSignature => "IncompleteSignature",
            other => other.as_str(),
        };
        return respond(
            403,
            XML,
            sts::error(code, &err.message, request_id).into_bytes(),
        );
    }
    let mut answer = respond(err.status(), JSON, err.to_json().into_bytes());
    if let Ok(code) = err.code.as_str().parse() {
        answer.headers_mut().insert("x-amzn-errortype", code);
    }
    answer
}

pub(crate) fn respond(status: u16, content_type: &'static str, body: Vec<u8>) -> Answer {
    let body = Full::new(Bytes::from(body))
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
