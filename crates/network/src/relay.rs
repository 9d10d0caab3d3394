//! Loopback's way to published ports.
//!
//! The firewall cannot rewrite what goes to 127.0.0.1: see `carry`. So sockets of ours accept and
//! copy. They live in a process of their own, because a server that is killed or replaced must not
//! take the ports of running tasks with it:
//!
//! ```text
//!   server: binds, so that it knows of a conflict at once ── sockets ──► relay: accepts and copies
//! ```
//!
//! - `keeper` is the server's side: starts the relay with the first port, finds a living one again,
//!   and starts another when one dies.
//! - `process` is the relay. It ends when it holds nothing and no server is there.
//! - `message` is what they say.

mod carry;
mod keeper;
mod message;
mod process;

use self::message::{Message, Verb};

pub(crate) use self::keeper::{Keeper, Listening};
pub use self::process::main;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;

/// How long a relay may take to answer or to end. It does nothing else: this is for one that hangs.
const ANSWER: Duration = Duration::from_secs(2);

/// Starts a process that calls [`main`] with this socket as its standard input, away from the
/// server's terminal, signals and environment. Who runs programs is the executable's to say.
#[derive(Clone)]
pub struct Starter(pub Arc<dyn Fn(OwnedFd) -> io::Result<()> + Send + Sync>);

impl fmt::Debug for Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Starter")
    }
}

/// Where the relay of a network listens.
fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("relay.sock")
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let kind = SocketType::SEQPACKET;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        kind,
        flags,
        None,
    )?)
}

/// A socket that tasks wait for.
fn watched(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    // SAFETY: the descriptor is owned, valid, and moved in; nothing replaces or closes it while it
    // is registered.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

/// Sends a message on a watched socket, with the sockets that go with it.
async fn send(
    to: &AsyncFd<OwnedFd>,
    message: &Message,
    sockets: &[BorrowedFd<'_>],
) -> io::Result<()> {
    loop {
        let mut ready = to.writable().await?;
        match ready.try_io(|to| message::send(to.get_ref(), message, sockets)) {
            Ok(sent) => return sent,
            Err(_would_block) => {}
        }
    }
}

/// Receives a message from a watched socket; `None` at the end of the connection.
async fn receive(from: &AsyncFd<OwnedFd>) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
    loop {
        let mut ready = from.readable().await?;
        match ready.try_io(|from| message::receive(from.get_ref())) {
            Ok(received) => return received,
            Err(_would_block) => {}
        }
    }
}

/// Connects to the relay of a network, if one lives.
fn connect(run_dir: &Path) -> io::Result<Option<OwnedFd>> {
    let socket = socket()?;
    let address = SocketAddrUnix::new(socket_path(run_dir))?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(Some(socket)),
        Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Ends the relay of a network without opening the network, and waits until its sockets are closed.
/// No relay is no error.
///
/// # Errors
/// When it does not end, or its socket cannot be removed.
pub fn end(run_dir: &Path) -> io::Result<()> {
    let path = socket_path(run_dir);
    if let Some(socket) = connect(run_dir)? {
        say_end(&socket)?;
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn say_end(socket: &OwnedFd) -> io::Result<()> {
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    let (timeout, message) = (Timeout::Recv, Message::plain(Verb::End));
    set_socket_timeout(socket, timeout, Some(ANSWER))?;
    match message::send(socket.as_fd(), &message, &[]) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other?,
    }
    loop {
        match message::receive(socket.as_fd()) {
            Ok(None) => return Ok(()),
            // Answers to what was asked before, or those of another version.
            Ok(Some(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
