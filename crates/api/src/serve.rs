//! Connections: how many, for how long, and how they end.

use crate::caller::Keys;
use crate::door::Door;
use crate::limits;
use crate::local::Local;
use crate::page::PageTokens;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::sync::Arc;
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
        .max_concurrent_streams(256);
    loop {
        // The semaphore is never closed.
        let Ok(slot) = slots.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = wanted(&mut stop) => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(err) if is_passing(&err) => {
                // Without descriptors the next accept fails at once too.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
            Err(err) => return Err(ServeError::Accept(err)),
        };
        prepare(&socket);
        let door = door.clone();
        let service = service_fn(move |request| {
            let door = door.clone();
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        let connection = server
            .serve_connection(TokioIo::new(socket), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away is its own affair.
            let _ = connection.await;
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

/// Of one connection, or for want of descriptors for a moment: the listener is fine.
fn is_passing(err: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    let connection = matches!(
        err.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    );
    connection || matches!(err.raw_os_error(), Some(23 | 24))
}
