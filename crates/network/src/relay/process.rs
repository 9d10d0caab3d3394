//! The relay as a process: what goes on carrying while no server is there.
//!
//! It is the product's own executable in another role, started with the listening socket as its
//! standard input. It needs no privilege at all, and gives up those it was started with: sockets
//! that are open stay open.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::SocketFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};
use tokio::io::unix::AsyncFd;

use super::carry::Relays;
use super::message::{Message, Verb};
use super::{receive, send, watched};

/// How it is called in lists of processes.
const NAME: &CStr = c"windlass-relay";
/// How long it waits for the server that started it.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Runs the relay in this process, and ends the process with it.
pub fn main() -> ! {
    match run() {
        Ok(()) => std::process::exit(0),
        // The server sees the end, says so, and starts another.
        Err(_) => std::process::exit(1),
    }
}

fn run() -> io::Result<()> {
    rustix::thread::set_name(NAME)?;
    // A terminal's Ctrl-C is for the server. It fails for a leader of a session, who has none.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    let listener = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    give_up_privileges()?;
    runtime.block_on(serve(listener))
}

fn give_up_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, none)?)
}

/// Serves one server after the other. Returns when it was told to end, or when no server is there
/// and nothing is held.
async fn serve(listener: OwnedFd) -> io::Result<()> {
    let listener = watched(listener)?;
    let mut relays = Relays::default();
    let Ok(first) = tokio::time::timeout(FIRST_WORD, accept(&listener)).await else {
        return Ok(());
    };
    let mut server = first?;
    loop {
        tokio::select! {
            biased;
            // A newer server has come: the older one is gone, or on its way.
            newer = accept(&listener) => server = newer?,
            received = receive(&server) => match received {
                Ok(Some((message, sockets))) => {
                    if answer(&mut relays, &server, message, sockets).await.is_break() {
                        return Ok(());
                    }
                }
                // One of another version: it shall have a relay of its own.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(()),
                Ok(None) | Err(_) if relays.is_empty() => return Ok(()),
                Ok(None) | Err(_) => server = accept(&listener).await?,
            },
        }
    }
}

async fn answer(
    relays: &mut Relays,
    server: &AsyncFd<OwnedFd>,
    message: Message,
    sockets: Vec<OwnedFd>,
) -> std::ops::ControlFlow<()> {
    use std::ops::ControlFlow::{Break, Continue};
    let answers = match message.verb {
        Verb::End => {
            // The end of the connection says that they are closed.
            relays.clear().await;
            return Break(());
        }
        Verb::Hold => match relays.hold(message.key, message.target, sockets) {
            Ok(()) => return Continue(()),
            Err(_) => vec![Message {
                verb: Verb::Release,
                ..message
            }],
        },
        Verb::Release => {
            relays.release(message.key).await;
            vec![message]
        }
        Verb::List => {
            let held = relays.held().map(|(key, target)| Message {
                verb: Verb::Hold,
                key,
                target,
            });
            held.chain([message]).collect()
        }
    };
    for answer in answers {
        // A server that is gone is seen when its next message is read.
        if send(server, &answer, &[]).await.is_err() {
            break;
        }
    }
    Continue(())
}

async fn accept(listener: &AsyncFd<OwnedFd>) -> io::Result<AsyncFd<OwnedFd>> {
    loop {
        let mut ready = listener.readable().await?;
        let flags = SocketFlags::CLOEXEC;
        let accepting =
            |listener: &AsyncFd<OwnedFd>| Ok(rustix::net::accept_with(listener.get_ref(), flags)?);
        match ready.try_io(accepting) {
            Ok(accepted) => return watched(accepted?),
            Err(_would_block) => {}
        }
    }
}
