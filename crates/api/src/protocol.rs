//! How a refusal is written: every AWS service has a protocol of its own, and a client that called
//! another service than ours reads only that. Believed are the service that a call is signed for
//! and the type of its body, whether or not the signature holds.

use crate::door::{Answer, respond};
use crate::sigv4::Claim;
use http::HeaderMap;
use std::collections::BTreeMap;
use windlass_wire::check::quoted;
use windlass_wire::{ApiError, ErrorCode};

pub(crate) const JSON: &str = "application/x-amz-json-1.1";
pub(crate) const XML: &str = "text/xml";
const CBOR: &str = "application/cbor";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// AWS JSON, which REST-JSON clients read too.
    Json,
    /// The same in CBOR, which newer clients of some services speak.
    Cbor,
    /// A form in, XML out: STS, IAM, CloudFormation, load balancers and many more. The errors of
    /// services with XML both ways, but S3, look the same.
    Query,
    /// EC2's own variety of it.
    Ec2,
    /// S3's XML.
    S3,
}

impl Protocol {
    pub(crate) fn of(headers: &HeaderMap) -> Protocol {
        let claim = Claim::parse(headers);
        let service = claim.as_ref().map_or("", |claim| claim.service);
        let content_type = headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let form = content_type
            .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        match service {
            _ if headers.contains_key("smithy-protocol") => Protocol::Cbor,
            // A JSON call says its operation in a header, a query in its form.
            _ if headers.contains_key("x-amz-target") => Protocol::Json,
            "s3" | "s3express" | "s3-outposts" => Protocol::S3,
            "ec2" => Protocol::Ec2,
            "sts" | "route53" | "cloudfront" => Protocol::Query,
            _ if form => Protocol::Query,
            _ => Protocol::Json,
        }
    }

    /// The answer to a call that was refused before an operation was reached, or by one.
    pub(crate) fn refuse(self, err: &ApiError, request_id: &str) -> Answer {
        let (code, status) = xml_code(err);
        let text = match self {
            Protocol::Json => return refuse_in_json(err),
            Protocol::Cbor => return refuse_in_cbor(err),
            Protocol::Query => query_error(code, &err.message, request_id),
            Protocol::Ec2 => format!(
                "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors>\
                 <RequestID>{request_id}</RequestID></Response>",
                escaped(code),
                escaped(&err.message)
            ),
            Protocol::S3 => format!(
                "<Error><Code>{}</Code><Message>{}</Message><RequestId>{request_id}</RequestId>\
                 </Error>",
                escaped(code),
                escaped(&err.message)
            ),
        };
        respond(status, XML, text.into_bytes())
    }
}

fn refuse_in_json(err: &ApiError) -> Answer {
    let mut answer = respond(err.status(), JSON, err.to_json().into_bytes());
    if let Ok(code) = err.code.as_str().parse() {
        answer.headers_mut().insert("x-amzn-errortype", code);
    }
    answer
}

fn refuse_in_cbor(err: &ApiError) -> Answer {
    let code = err.code.as_str();
    let body = BTreeMap::from([("__type", code), ("message", &err.message)]);
    // Writing to memory cannot fail.
    let body = minicbor::to_vec(body).unwrap_or_default();
    let mut answer = respond(err.status(), CBOR, body);
    let protocol = http::HeaderValue::from_static("rpc-v2-cbor");
    answer.headers_mut().insert("smithy-protocol", protocol);
    answer
}

/// A call for a service that is not served here: most often a shell in which every service goes to
/// Windlass. It comes before anything is said of the key, which may well be a good one of AWS.
pub(crate) fn refuse_other_service(service: &str) -> Result<(), ApiError> {
    if SERVED.contains(&service) {
        return Ok(());
    }
    let message = format!(
        "This endpoint is Windlass, which serves ecs and sts, and not {}. Calls of every service \
         come here while AWS_ENDPOINT_URL is set, or endpoint_url in the profile: `unset \
         AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY` leads back to AWS, and \
         AWS_ENDPOINT_URL_ECS in its place leads here for ecs alone.",
        quoted(service)
    );
    Err(ApiError::new(ErrorCode::UnknownOperation, message))
}

/// Services, as calls are signed for them.
const SERVED: [&str; 2] = ["ecs", "sts"];

/// The older protocols' names of what they share with JSON, and the status that goes with them.
/// Source: AWS, common errors of the Query protocol.
fn xml_code(err: &ApiError) -> (&'static str, u16) {
    match err.code {
        ErrorCode::UnrecognizedClient => ("InvalidClientTokenId", 403),
        ErrorCode::InvalidSignature => ("SignatureDoesNotMatch", 403),
        ErrorCode::MissingAuthenticationToken => ("MissingAuthenticationToken", 403),
        ErrorCode::IncompleteSignature => ("IncompleteSignature", 403),
        ErrorCode::UnknownOperation => ("InvalidAction", 400),
        other => (other.as_str(), err.status()),
    }
}

/// An error in the Query protocol's shape.
pub(crate) fn query_error(code: &str, message: &str, request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{request_id}</RequestId></ErrorResponse>",
        escaped(code),
        escaped(message)
    )
}

pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}
