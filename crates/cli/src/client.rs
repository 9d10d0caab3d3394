//! HTTP/1 with a server: one connection for each call, every request signed.
//!
//! Calls of ECS go by their types in `windlass-wire`; what ECS has no operation for goes to
//! `Windlass.<Operation>` at the same door, described in docs/windlass-api.md.

use crate::failure::Failure;
use crate::limits;
use crate::sign::{self, Scope, Signable};
use bytes::{Buf, Bytes};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use windlass_wire::operation::TARGET_PREFIX;
use windlass_wire::{ApiError, ErrorCode};

const JSON: &str = "application/x-amz-json-1.1";

/// The service in the signature's scope.
const SERVICE: &str = "ecs";

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

// The secret is not shown by accident.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Where a server is and who asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `http://HOST:PORT`
    pub url: String,
    /// HOST:PORT
    authority: String,
    pub region: String,
    pub keys: Keys,
}

impl Client {
    /// A client of the server at `url`. Nothing is asked yet.
    ///
    /// # Errors
    /// When `url` is no http URL of a host alone.
    pub fn new(url: &str, region: &str, keys: Keys) -> Result<Client, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("the endpoint {url}: {why}"));
        if url.starts_with("https://") {
            return Err(wrong(
                "https is not spoken by this version: a Windlass server serves plain http, on \
                 loopback unless --listen says otherwise; use http://",
            ));
        }
        let rest = url.strip_prefix("http://");
        let rest = rest.ok_or_else(|| wrong("an endpoint begins with http://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority: http::uri::Authority = rest
            .parse()
            .map_err(|_| wrong("it must be http://HOST:PORT without a path"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("user and password have no place in it"));
        }
        let authority = match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        };
        Ok(Client {
            url: format!("http://{rest}"),
            authority,
            region: region.to_owned(),
            keys,
        })
    }

    /// The host's name or address, without brackets and port.
    pub(crate) fn host(&self) -> &str {
        let host = self
            .authority
            .rsplit_once(':')
            .map_or(self.authority.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Calls an operation of ECS.
    ///
    /// # Errors
    /// The server's refusal, or that there is no server.
    pub async fn call<R: windlass_wire::Request>(
        &self,
        request: &R,
    ) -> Result<R::Response, Failure> {
        let name = R::OPERATION.name();
        let body = serde_json::to_vec(request).map_err(|err| failed(name, &err))?;
        let target = format!("{TARGET_PREFIX}.{name}");
        let answer = within(limits::ANSWER_TIMEOUT, name, async {
            let answer = self.send(&target, Content::from(body)).await?;
            read_whole(name, answer).await
        });
        serde_json::from_slice(&answer.await?).map_err(|err| failed(name, &err))
    }

    /// Calls `Windlass.<name>` and waits as long as it takes: a pull may take minutes.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn windlass(&self, name: &str, request: &impl Serialize) -> Result<Value, Failure> {
        let body = serde_json::to_vec(request).map_err(|err| failed(name, &err))?;
        let answer = self
            .send(&format!("Windlass.{name}"), Content::from(body))
            .await?;
        serde_json::from_slice(&read_whole(name, answer).await?).map_err(|err| failed(name, &err))
    }

    /// Calls `Windlass.<name>`, whose answer comes in pieces.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn stream(&self, name: &str, request: &impl Serialize) -> Result<Pieces, Failure> {
        let body = serde_json::to_vec(request).map_err(|err| failed(name, &err))?;
        let target = format!("Windlass.{name}");
        let answer = self.send(&target, Content::from(body));
        let answer = within(limits::ANSWER_TIMEOUT, name, answer).await?;
        Ok(Pieces {
            operation: name.to_owned(),
            body: answer.into_body(),
            rest: Vec::new(),
        })
    }

    /// Calls `Windlass.<name>` with `length` bytes that come through `pieces` and have `digest`. What
    /// they hold is to be called `image`, if that is given.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn upload(
        &self,
        name: &str,
        image: Option<&str>,
        digest: String,
        length: u64,
        pieces: mpsc::Receiver<Bytes>,
    ) -> Result<Value, Failure> {
        let content = Content {
            image: image.map(str::to_owned),
            digest,
            body: BoxBody::new(Upload {
                pieces,
                left: length,
            }),
        };
        let answer = self.send(&format!("Windlass.{name}"), content).await?;
        serde_json::from_slice(&read_whole(name, answer).await?).map_err(|err| failed(name, &err))
    }

    /// Sends a signed request; an answer that is an error becomes one.
    async fn send(&self, target: &str, content: Content) -> Result<Response<Incoming>, Failure> {
        let unreachable = |why: String| {
            Failure::Unreachable(format!(
                "no server answers at {} ({why}): start one with `windlass up`",
                self.url
            ))
        };
        let connect = TcpStream::connect(&self.authority);
        let socket = tokio::time::timeout(limits::CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| unreachable("it does not take the connection".to_owned()))?
            .map_err(|err| unreachable(err.to_string()))?;
        // A slower call is no reason to refuse it.
        let _ = socket.set_nodelay(true);
        let cut = |err: hyper::Error| {
            Failure::Unreachable(format!(
                "the server at {} broke off: {}",
                self.url,
                chain(&err)
            ))
        };
        let (mut sender, connection) =
            http1::handshake::<_, BoxBody<Bytes, Infallible>>(TokioIo::new(socket))
                .await
                .map_err(cut)?;
        // Its end is seen by who waits for the answer.
        tokio::spawn(connection);
        let request = self.request(target, content)?;
        let answer = sender.send_request(request).await.map_err(cut)?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        Err(refusal(target, answer).await)
    }

    fn request(
        &self,
        target: &str,
        content: Content,
    ) -> Result<Request<BoxBody<Bytes, Infallible>>, Failure> {
        let date = jiff::Timestamp::now()
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let mut headers = BTreeMap::from([
            ("content-type", JSON.to_owned()),
            ("host", self.authority.clone()),
            ("x-amz-content-sha256", content.digest.clone()),
            ("x-amz-date", date.clone()),
            ("x-amz-target", target.to_owned()),
        ]);
        if let Some(token) = &self.keys.session_token {
            headers.insert("x-amz-security-token", token.clone());
        }
        if let Some(image) = &content.image {
            headers.insert("x-amz-windlass-image", image.clone());
        }
        let signable = Signable {
            method: "POST",
            path: "/",
            headers: &headers,
            body_digest: &content.digest,
        };
        let scope = Scope {
            keys: &self.keys,
            region: &self.region,
            service: SERVICE,
            date: &date,
        };
        let authorization = sign::authorization(&signable, &scope);
        let mut request = Request::post("/").header("authorization", authorization);
        for (name, value) in headers {
            let value = HeaderValue::try_from(value);
            request = request.header(name, value.map_err(|err| failed(target, &err))?);
        }
        request
            .body(content.body)
            .map_err(|err| failed(target, &err))
    }
}

/// A request's body and its digest.
struct Content {
    /// What an image in the body is to be called: the body has no place for it.
    image: Option<String>,
    digest: String,
    body: BoxBody<Bytes, Infallible>,
}

impl From<Vec<u8>> for Content {
    fn from(body: Vec<u8>) -> Content {
        Content {
            image: None,
            digest: sign::digest(&body),
            body: BoxBody::new(Full::new(body.into())),
        }
    }
}

/// A body of a known length that arrives through a channel. When the channel ends early the
/// connection is cut, so that the server does not take a part for the whole.
struct Upload {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(context).map(|piece| {
            let piece = piece?;
            self.left = self.left.saturating_sub(piece.len() as u64);
            Some(Ok(Frame::data(piece)))
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

/// An answer that comes in pieces.
pub struct Pieces {
    operation: String,
    body: Incoming,
    /// The begin of a record whose end has not arrived.
    rest: Vec<u8>,
}

impl Pieces {
    /// The next bytes; nothing at the end.
    ///
    /// # Errors
    /// When the connection ends before the answer does.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|err| {
                let why = chain(&err);
                Failure::Unreachable(format!("the answer of {} was cut: {why}", self.operation))
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The records that are complete, one to a line; nothing at the end.
    ///
    /// # Errors
    /// As [`Pieces::next`], and when a record is no JSON or longer than the limit.
    pub async fn next_records<T: serde::de::DeserializeOwned>(
        &mut self,
    ) -> Result<Option<Vec<T>>, Failure> {
        loop {
            let Some(piece) = self.next().await? else {
                return match self.rest.is_empty() {
                    true => Ok(None),
                    false => Err(failed(&self.operation, &"the answer ends within a record")),
                };
            };
            self.rest.extend_from_slice(piece.chunk());
            let end = self
                .rest
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            if self.rest.len().saturating_sub(end) > limits::RECORD_BYTES_MAX {
                return Err(failed(
                    &self.operation,
                    &"a record of the answer is too long",
                ));
            }
            if end == 0 {
                continue;
            }
            let tail = self.rest.split_off(end);
            let whole = std::mem::replace(&mut self.rest, tail);
            let records = whole
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            let records: Result<Vec<T>, _> = records.map(serde_json::from_slice).collect();
            return records
                .map(Some)
                .map_err(|err| failed(&self.operation, &err));
        }
    }
}

async fn within<T>(
    limit: Duration,
    operation: &str,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, answer)
        .await
        .unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(Failure::Unreachable(format!(
                "{operation} was not answered in {seconds} seconds"
            )))
        })
}

async fn read_whole(operation: &str, answer: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(answer.into_body(), limits::ANSWER_BYTES_MAX)
        .collect()
        .await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|err| match err.is::<LengthLimitError>() {
            true => failed(operation, &"the answer is too long"),
            false => Failure::Unreachable(format!("the answer of {operation} was cut: {err}")),
        })
}

/// The server's error; in AWS's form, or as a bare status.
async fn refusal(target: &str, answer: Response<Incoming>) -> Failure {
    let status = answer.status();
    let kind = answer.headers().get("x-amzn-errortype").cloned();
    let kind = kind.as_ref().and_then(|kind| kind.to_str().ok());
    let body = match read_whole(target, answer).await {
        Ok(body) => body,
        Err(err) => return err,
    };
    match ApiError::from_answer(kind, &body) {
        Some(err) if is_key_trouble(err.code) => Failure::Denied(format!(
            "the server does not take the access key ({}: {}): the AWS_* variables or the folder \
             of --data may belong to another installation; run `eval \"$(windlass env)\"` again",
            err.code, err.message
        )),
        Some(err) => Failure::Api(err),
        None if status == StatusCode::FORBIDDEN || status == StatusCode::UNAUTHORIZED => {
            Failure::Denied(format!("{target}: the server answers {status}"))
        }
        None => failed(
            target,
            &format!("the server answers {status}; is it a Windlass server?"),
        ),
    }
}

fn is_key_trouble(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnrecognizedClient)
}

fn failed(operation: &str, why: &dyn fmt::Display) -> Failure {
    Failure::Failed(format!("{operation}: {why}"))
}

/// An error with what is behind it: hyper's own words leave the cause to its source.
fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(err) = source {
        text.push_str(": ");
        text.push_str(&err.to_string());
        source = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys {
            access_key_id: "AKIA".into(),
            secret_access_key: "hidden".into(),
            session_token: None,
        }
    }

    #[test]
    fn endpoints_are_http_urls_of_a_host() {
        let client = |url| Client::new(url, "us-east-1", keys());
        for (url, authority, host) in [
            ("http://127.0.0.1:7737", "127.0.0.1:7737", "127.0.0.1"),
            ("http://[::1]:7737/", "[::1]:7737", "::1"),
            ("http://node", "node:80", "node"),
        ] {
            let client = client(url).unwrap();
            assert_eq!(
                (client.authority.as_str(), client.host()),
                (authority, host)
            );
        }
        for url in [
            "https://a:1",
            "a:1",
            "http://",
            "http://a/b",
            "http://u:p@a:1",
            "http://a b",
        ] {
            let err = client(url).unwrap_err();
            assert_eq!(err.exit_code(), 64, "{url}");
            assert!(err.to_string().contains(url), "{err}");
        }
        assert!(
            client("https://a")
                .unwrap_err()
                .to_string()
                .contains("plain http")
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let client = Client::new("http://a:1", "us-east-1", keys()).unwrap();
        assert!(!format!("{client:?}").contains("hidden"));
    }
}
