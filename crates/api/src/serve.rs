//! Connections: how many, for how long, and how they end.

use crate::connection::{Connection, Running, Socket};
use crate::door::{Door, Guest};
use crate::keys::Keys;
use crate::limits::{self, UploadPace};
use crate::local::Local;
use crate::metrics;
use crate::metrics::Metrics;
use crate::page::PageTokens;
use crate::places::Places;
use crate::unsigned::Cached;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::net::sockopt;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use windlass_model::arn::Scope;
use windlass_server::Handle;

/// What a front door needs.
pub struct Options {
    pub scope: Scope,
    pub leader: Handle,
    pub local: Arc<dyn Local>,
    pub keys: Keys,
    /// The installation's key for page tokens, the same at every start.
    pub page_key: [u8; 32],
    pub upload_pace: UploadPace,
    /// Goes into every backup: who this installation is.
    pub backup_label: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("accepting connections")]
    Accept(#[source] std::io::Error),
}

/// HTTP/1 and HTTP/2, with as little kept for a connection as serves it well: there may be many.
fn server() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        // It would end connections that are kept for the next request: see `connection`.
        .header_read_timeout(None)
        .max_buf_size(limits::BUFFER_BYTES_MAX);
    let window = u32::try_from(limits::BUFFER_BYTES_MAX).unwrap_or(u32::MAX);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_MAX)
        .max_header_list_size(limits::HEAD_BYTES_MAX)
        .initial_connection_window_size(window)
        .initial_stream_window_size(window)
        .max_send_buf_size(limits::BUFFER_BYTES_MAX);
    server
}

/// Answers one connection's requests.
fn service(
    door: Arc<Door>,
    places: Arc<Places>,
    connection: Arc<Connection>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Sending>,
    Error = Infallible,
    Future: Send + 'static,
> {
    let bodies = Arc::new(Semaphore::new(1));
    service_fn(move |request: Request<Incoming>| {
        let running = Running::begin(connection.clone(), request.version());
        let guest = Guest {
            held: places.held(&connection),
            bodies: bodies.clone(),
            operation: metrics::UNAUTHENTICATED,
        };
        let door = door.clone();
        async move {
            let answer = door.answer(request, guest).await;
            let sending = answer.map(|body| Sending {
                body,
                _running: running,
            });
            Ok::<_, Infallible>(sending)
        }
    })
}

/// Serves until `stop` turns true, then lets running requests end.
///
/// # Errors
/// When the listener itself fails.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let places = Places::new(limits::CONNECTIONS_MAX, limits::HELD_BYTES_MAX);
    let door = Arc::new(Door {
        scope: options.scope,
        leader: options.leader,
        local: options.local,
        keys: options.keys,
        tokens: PageTokens::new(options.page_key),
        upload_pace: options.upload_pace,
        backup_label: options.backup_label,
        places: places.clone(),
        metrics: Metrics::default(),
        cached: Cached::default(),
        backups: Arc::new(Semaphore::new(limits::BACKUPS_MAX)),
    });
    let graceful = GracefulShutdown::new();
    let server = server();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = wanted(&mut stop) => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(err) if is_broken(&err) => return Err(ServeError::Accept(err)),
            Err(err) => {
                tracing::warn!(%err, "a connection could not be accepted");
                places.make_room();
                // Without descriptors or memory the next accept fails at once too.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Whoever holds the places may hold them for long.
        let place = tokio::select! {
            place = places.admit(peer) => place,
            () = wanted(&mut stop) => break,
        };
        prepare(&socket);
        let connection = place.connection().clone();
        let service = service(door.clone(), places.clone(), connection.clone());
        let socket = Socket {
            stream: socket,
            connection,
        };
        let served = server
            .serve_connection(TokioIo::new(socket), service)
            .into_owned();
        let served = graceful.watch(served);
        tokio::spawn(async move {
            // A client that goes away is its own affair.
            tokio::select! {
                _ = served => {}
                () = place.connection().has_to_go() => {}
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits::DRAIN_TIMEOUT, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time and are cut");
    }
    Ok(())
}

/// The body of an answer, whose request runs until the last byte: a log may be followed for days.
struct Sending {
    body: BoxBody<Bytes, std::io::Error>,
    _running: Running,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Returns when `stop` is true, or when nobody is left to make it so.
async fn wanted(stop: &mut watch::Receiver<bool>) {
    // An error is the second of these.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Answers are small and waited for; and a client that vanished without a word, while it followed a
/// log that is silent too, has to be asked whether it is still there.
fn prepare(socket: &TcpStream) {
    let prepared = socket.set_nodelay(true).map_err(|err| err.to_string());
    let probed = probe(socket).map_err(|err| err.to_string());
    if let Err(err) = prepared.and(probed) {
        tracing::debug!(err, "a socket keeps its usual ways");
    }
}

fn probe(socket: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_keepidle(socket, limits::PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, limits::PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(socket, limits::PROBES)?;
    sockopt::set_socket_keepalive(socket, true)
}

/// Of the listener itself: it will never accept again. Every other error is of one connection, or for
/// want of descriptors or memory for a moment. Source: accept(2).
fn is_broken(err: &std::io::Error) -> bool {
    const EBADF: i32 = 9;
    const EINVAL: i32 = 22;
    const ENOTSOCK: i32 = 88;
    matches!(err.raw_os_error(), Some(EBADF | EINVAL | ENOTSOCK))
}
