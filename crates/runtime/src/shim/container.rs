//! One container of the sandbox: its newest run, and what is left of it after its exit.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};

use super::clock;
use super::launch::Launched;
use super::lines::{Lines, TEXT_BYTES_MAX};
use super::log::Log;
use crate::spec::{ContainerSpec, Exit};
use crate::state::{ContainerState, Status};

/// What may still be read from a container's streams once it has ended: a pipe holds 64 KiB, a
/// terminal less. A process that escaped into the host's pid namespace must not keep the shim busy.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

pub(crate) struct Container<R> {
    pub(crate) state: ContainerState,
    /// None after the exit: the spec may hold secrets and goes with it.
    pub(crate) live: Option<Live<R>>,
    /// Something of the last run could not be removed; when to try again.
    pub(crate) cleanup_at_ms: Option<u64>,
}

pub(crate) struct Live<R> {
    pub(crate) running: R,
    pub(crate) spec: ContainerSpec,
    pub(crate) output: Output,
    /// The writing end of a standard input that stays open.
    pub(crate) _stdin: Option<OwnedFd>,
    /// When a stop turns into a kill, on the steady clock.
    pub(crate) kill_at_ms: Option<u64>,
}

impl<R: Launched> Container<R> {
    /// Sends the stop signal; the kill follows at the container's own timeout. A second stop
    /// changes nothing: the first one's timeout runs.
    pub(crate) fn stop(&mut self) {
        let Some(live) = &mut self.live else { return };
        if self.state.status != Status::Running {
            return;
        }
        self.state.status = Status::Stopping;
        live.kill_at_ms = Some(clock::steady_ms().saturating_add(live.spec.stop_timeout_ms));
        let signal = signal(live.spec.stop_signal).unwrap_or(Signal::TERM);
        send(&live.running, signal);
    }

    /// Kills the first process. The caller has the launcher kill what is beside it.
    pub(crate) fn kill(&mut self) {
        let Some(live) = &mut self.live else { return };
        self.state.status = Status::Killing;
        live.kill_at_ms = None;
        send(&live.running, Signal::KILL);
    }
}

/// Real-time signals too: some programs stop by one.
pub(crate) fn signal(number: i32) -> Option<Signal> {
    // SAFETY: any number the kernel knows may be sent to another process; what is not allowed is to
    // use those the C library keeps for itself in this one, and nothing is done here with them.
    (1..=64)
        .contains(&number)
        .then(|| unsafe { Signal::from_raw_unchecked(number) })
}

fn send(process: &impl Launched, signal: Signal) {
    // It may have ended on its own: then there is nothing to signal.
    let _ = rustix::process::pidfd_send_signal(process.pidfd(), signal);
}

/// Takes the exit status of a child that has ended; `None` when it has not.
pub(crate) fn reap(process: &impl Launched) -> Option<Exit> {
    // A child may have been cloned without a signal at its end; those are waited for with __WALL.
    let options = WaitIdOptions::EXITED
        | WaitIdOptions::NOHANG
        | WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    match rustix::process::waitid(WaitId::PidFd(process.pidfd()), options) {
        Ok(status) => status.map(|status| exit(&status)),
        Err(Errno::INTR) => None,
        // Somebody else took the status. It has ended all the same, and how is lost.
        Err(_) => Some(Exit::Signal(libc::SIGKILL)),
    }
}

fn exit(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Signal(libc::SIGKILL),
    }
}

/// A container's streams and the log they go to.
pub(crate) struct Output {
    streams: Vec<Stream>,
    log: Log,
}

struct Stream {
    source: OwnedFd,
    lines: Lines,
}

impl Output {
    pub(crate) fn new(sources: Vec<(&'static str, OwnedFd)>, log: Log) -> Output {
        let text_bytes_max = log.text_bytes_max().min(TEXT_BYTES_MAX);
        let streams = sources
            .into_iter()
            .map(|(name, source)| Stream {
                source,
                lines: Lines::new(name, text_bytes_max),
            })
            .collect();
        Output { streams, log }
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = &OwnedFd> {
        self.streams.iter().map(|stream| &stream.source)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.log.dropped()
    }

    /// Reads a stream once into the log; a stream that has ended is closed. True when it goes on.
    pub(crate) fn pump(&mut self, index: usize, scratch: &mut [u8]) -> bool {
        let more = self.read(index, scratch).is_some();
        self.log.flush();
        more
    }

    /// Reads what the streams still hold and closes them.
    pub(crate) fn drain(&mut self, scratch: &mut [u8]) {
        while let Some(index) = self.streams.len().checked_sub(1) {
            let mut left = DRAIN_BYTES_MAX;
            while left > 0 {
                match self.read(index, scratch) {
                    None => break,
                    Some(0) => left = 0,
                    Some(count) => left = left.saturating_sub(count),
                }
            }
            if self.streams.len() > index {
                self.close(index);
            }
        }
        self.log.flush();
    }

    /// Bytes read, 0 when there are none now, `None` when the stream has ended and is closed.
    fn read(&mut self, index: usize, scratch: &mut [u8]) -> Option<usize> {
        let stream = self.streams.get_mut(index)?;
        match rustix::io::read(&stream.source, &mut *scratch) {
            Err(Errno::AGAIN | Errno::INTR) => Some(0),
            // A terminal whose other side is closed answers EIO, not an end.
            Ok(0) | Err(_) => {
                self.close(index);
                None
            }
            Ok(count) => {
                let log = &mut self.log;
                let sink = &mut |record: &[u8]| log.add(record);
                stream.lines.feed(&scratch[..count], clock::wall(), sink);
                Some(count)
            }
        }
    }

    fn close(&mut self, index: usize) {
        let mut stream = self.streams.remove(index);
        let log = &mut self.log;
        stream
            .lines
            .finish(clock::wall(), &mut |record: &[u8]| log.add(record));
    }
}

/// A pipe whose reading end never blocks the shim.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    unblock(&reader)?;
    Ok((reader, writer))
}

pub(crate) fn unblock(fd: &impl AsFd) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}
