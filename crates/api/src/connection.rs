//! One connection: what goes on on it, and how long it may stay.
//!
//! The libraries wait without end for the first bytes, between requests, and for a client that does
//! not read; so the time is kept here.

use crate::limits;
use http::Version;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub(crate) struct Connection {
    /// How many were opened before it.
    number: u64,
    peer: SocketAddr,
    opened: Instant,
    doing: watch::Sender<Doing>,
    /// Bytes that its requests hold.
    bytes: AtomicUsize,
    /// Since when its client has not taken what was to be sent.
    unread_since: Mutex<Option<Instant>>,
    go: Notify,
}

/// What goes on on a connection.
#[derive(Clone, Copy, Debug)]
struct Doing {
    /// A signature held, once.
    authenticated: bool,
    /// Requests whose answer is not sent yet.
    running: usize,
    /// When the last answer was sent, or the connection opened.
    since: Instant,
    /// When a request's first bytes came, of which the head is not whole yet. Only of HTTP/1, where
    /// bytes mean nothing else.
    head_since: Option<Instant>,
    http2: bool,
}

impl Doing {
    /// Until when the connection may stay if nothing changes.
    fn deadline(&self, opened: Instant) -> Option<Instant> {
        let stranger = opened + limits::STRANGER_TIMEOUT;
        match (self.authenticated, self.running) {
            (false, 0) => Some((self.since + limits::HEADERS_TIMEOUT).min(stranger)),
            (false, _) => Some(stranger),
            (true, 0) => Some(match self.head_since {
                Some(since) => since + limits::HEADERS_TIMEOUT,
                None => self.since + limits::IDLE_TIMEOUT,
            }),
            // A log may be followed for days.
            (true, _) => None,
        }
    }
}

impl Connection {
    pub(crate) fn new(number: u64, peer: SocketAddr) -> Connection {
        let now = Instant::now();
        Connection {
            number,
            peer,
            opened: now,
            doing: watch::Sender::new(Doing {
                authenticated: false,
                running: 0,
                since: now,
                head_since: None,
                http2: false,
            }),
            bytes: AtomicUsize::new(0),
            unread_since: Mutex::new(None),
            go: Notify::new(),
        }
    }

    /// Returns when it has to end: another needs its place, or it asked nothing for too long.
    pub(crate) async fn has_to_go(&self) {
        tokio::select! {
            () = self.go.notified() => {}
            () = self.overstayed() => {}
        }
    }

    async fn overstayed(&self) {
        let mut doing = self.doing.subscribe();
        loop {
            let deadline = doing.borrow_and_update().deadline(self.opened);
            let overstayed = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = overstayed => return,
                // Never an error: the sender lives as long as this.
                _ = doing.changed() => {}
            }
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Who is at its other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn let_go(&self) {
        self.go.notify_one();
    }

    /// A signature held. Gives whether it is the first.
    pub(crate) fn authenticated(&self) -> bool {
        self.doing.send_if_modified(|doing| {
            let is_news = !doing.authenticated;
            doing.authenticated = true;
            is_news
        })
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.doing.borrow().authenticated
    }

    /// Since when no request runs.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let doing = self.doing.borrow();
        (doing.running == 0).then_some(doing.since)
    }

    pub(crate) fn unread_since(&self) -> Option<Instant> {
        *self.unread()
    }

    fn unread(&self) -> MutexGuard<'_, Option<Instant>> {
        self.unread_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove_bytes(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that its requests hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes came.
    fn heard(&self) {
        let begins =
            |doing: &Doing| !doing.http2 && doing.running == 0 && doing.head_since.is_none();
        if begins(&self.doing.borrow()) {
            self.doing
                .send_modify(|doing| doing.head_since = Some(Instant::now()));
        }
    }

    /// Bytes were taken by the client's side, or not.
    pub(crate) fn sent<T>(&self, outcome: &Poll<T>) {
        let mut unread = self.unread();
        match outcome {
            Poll::Pending => {
                unread.get_or_insert_with(Instant::now);
            }
            Poll::Ready(_) => *unread = None,
        }
    }
}

/// A request from its head to the last byte of its answer.
pub(crate) struct Running(Arc<Connection>);

impl Running {
    pub(crate) fn begin(connection: Arc<Connection>, version: Version) -> Running {
        connection.doing.send_modify(|doing| {
            doing.running += 1;
            doing.head_since = None;
            doing.http2 = version == Version::HTTP_2;
        });
        Running(connection)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.doing.send_modify(|doing| {
            doing.running -= 1;
            doing.since = Instant::now();
        });
    }
}

/// A connection's socket, which tells what it hears and whether its client reads.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) connection: Arc<Connection>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.heard();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.connection.sent(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.connection.sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn how_long_a_connection_may_stay() {
        let opened = Instant::now();
        let at = |seconds: u64| opened + Duration::from_secs(seconds);
        let doing = |authenticated, running, since, head: Option<u64>| Doing {
            authenticated,
            running,
            since: at(since),
            head_since: head.map(at),
            http2: false,
        };
        for (doing, expected) in [
            // A stranger has a moment for each request, and a minute for all of them.
            (doing(false, 0, 0, None), Some(10)),
            (doing(false, 0, 0, Some(9)), Some(10)),
            (doing(false, 0, 20, None), Some(30)),
            (doing(false, 0, 55, None), Some(60)),
            (doing(false, 1, 0, None), Some(60)),
            // Clients keep a connection for the next call, which then comes at once.
            (doing(true, 0, 7, None), Some(97)),
            (doing(true, 0, 7, Some(50)), Some(60)),
            (doing(true, 1, 7, None), None),
        ] {
            assert_eq!(doing.deadline(opened), expected.map(at), "{doing:?}");
        }
    }

    #[test]
    fn bytes_begin_a_head_once_and_only_between_requests() {
        let connection = Arc::new(Connection::new(0, "127.0.0.1:1".parse().unwrap()));
        let head = || connection.doing.borrow().head_since;
        connection.heard();
        let first = head();
        connection.heard();
        assert!(first.is_some() && head() == first);
        let running = Running::begin(connection.clone(), Version::HTTP_11);
        connection.heard();
        assert_eq!(head(), None);
        drop(running);
        connection.heard();
        assert!(head().is_some());
        // A client of HTTP/2 may ask whether the connection lives.
        drop(Running::begin(connection.clone(), Version::HTTP_2));
        connection.heard();
        assert_eq!(head(), None);
    }
}
