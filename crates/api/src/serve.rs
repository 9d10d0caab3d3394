//! Connections: how many, for how long, and how they end.

use crate::caller::Keys;
use crate::door::{Answer, Door};
use crate::limits;
use crate::local::Local;
use crate::page::PageTokens;
use bytes::Bytes;
use http::Response;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
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
    /// Goes into every backup: who this installation is.
    pub backup_label: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("accepting connections")]
    Accept(#[source] std::io::Error),
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
    let door = Arc::new(Door {
        scope: options.scope,
        leader: options.leader,
        local: options.local,
        keys: options.keys,
        tokens: PageTokens::new(options.page_key),
        backup_label: options.backup_label,
    });
    let slots = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADERS_TIMEOUT);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_MAX);
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        // Also while every slot is taken: whoever holds them may hold them for long.
        let (slot, accepted) = tokio::select! {
            next = next => next,
            () = wanted(&mut stop) => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(err) if is_broken(&err) => return Err(ServeError::Accept(err)),
            Err(err) => {
                tracing::warn!(%err, "a connection could not be accepted");
                // Without descriptors or memory the next accept fails at once too.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
        };
        prepare(&socket);
        let door = door.clone();
        let activity = Arc::new(Activity::new());
        let seen = activity.clone();
        let bodies = Arc::new(Semaphore::new(limits::BODIES_PER_CONNECTION_MAX));
        let service = service_fn(move |request| {
            let door = door.clone();
            let running = Running::new(seen.clone());
            let bodies = bodies.clone();
            async move { Ok::<_, Infallible>(running.until_sent(door.answer(request, bodies).await)) }
        });
        let connection = server
            .serve_connection(TokioIo::new(socket), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away is its own affair; one that only stays away is cut.
            tokio::select! {
                _ = connection => {}
                () = activity.idle() => {}
            }
            drop(slot);
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

/// What goes on on a connection. Without it, clients that say nothing would hold every connection
/// there may be: the libraries wait without end for the first bytes, and between requests.
struct Activity {
    /// Requests that came, and requests whose answer is not sent yet.
    counts: watch::Sender<(u64, usize)>,
}

impl Activity {
    fn new() -> Activity {
        Activity {
            counts: watch::Sender::new((0, 0)),
        }
    }

    /// Returns when no first request came in time, or none for long after the last was answered.
    async fn idle(&self) {
        let mut counts = self.counts.subscribe();
        loop {
            let (came, running) = *counts.borrow_and_update();
            let patience = match (came, running) {
                (_, 1..) => Duration::MAX,
                (0, 0) => limits::HEADERS_TIMEOUT,
                (_, 0) => limits::IDLE_TIMEOUT,
            };
            // An error is the end of the wait; the sender lives as long as this.
            if tokio::time::timeout(patience, counts.changed())
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// A request from its head to the last byte of its answer.
struct Running(Arc<Activity>);

impl Running {
    fn new(activity: Arc<Activity>) -> Running {
        activity.counts.send_modify(|(came, running)| {
            *came = came.saturating_add(1);
            *running += 1;
        });
        Running(activity)
    }

    fn until_sent(self, answer: Answer) -> Response<Sending> {
        answer.map(|body| Sending {
            body,
            _running: self,
        })
    }
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

impl Drop for Running {
    fn drop(&mut self) {
        self.0.counts.send_modify(|(_, running)| *running -= 1);
    }
}

/// Returns when `stop` is true, or when nobody is left to make it so.
async fn wanted(stop: &mut watch::Receiver<bool>) {
    // An error is the second of these.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Answers are small and waited for.
fn prepare(socket: &TcpStream) {
    if let Err(err) = socket.set_nodelay(true) {
        tracing::debug!(%err, "a socket without TCP_NODELAY");
    }
}

/// Of the listener itself: it will never accept again. Every other error is of one connection, or for
/// want of descriptors or memory for a moment. Source: accept(2).
fn is_broken(err: &std::io::Error) -> bool {
    const EBADF: i32 = 9;
    const EINVAL: i32 = 22;
    const ENOTSOCK: i32 = 88;
    matches!(err.raw_os_error(), Some(EBADF | EINVAL | ENOTSOCK))
}
