//! A program run inside a container on somebody's question: a health check, a command. Its output
//! is kept up to a limit, read on beyond it, and answered with its exit status.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::launch::Launched;
use crate::spec::Exit;
use crate::state::ExecResult;

/// Most output an exec may ask to keep.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

pub(crate) struct Exec<R> {
    pub(crate) running: R,
    /// Who asked: the connection and the request's id.
    pub(crate) connection: u64,
    pub(crate) request: u64,
    /// When it is killed, on the steady clock.
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) timed_out: bool,
    /// None when the program has closed it.
    pub(crate) source: Option<OwnedFd>,
    pub(crate) output: Vec<u8>,
    pub(crate) output_bytes_max: usize,
    pub(crate) truncated: bool,
}

impl<R: Launched> Exec<R> {
    /// Kills the program and what it started in its own process group.
    pub(crate) fn kill(&mut self) {
        self.deadline_ms = None;
        // The number is surely its own: the shim has not reaped it. An exec leads a session, so
        // its group has its number; a group of another leader is left alone.
        if let Some(pid) = Pid::from_raw(self.running.pid())
            && rustix::process::getpgid(Some(pid)) == Ok(pid)
        {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        let _ = rustix::process::pidfd_send_signal(self.running.pidfd(), Signal::KILL);
    }

    /// Reads once. False when there is nothing more now.
    pub(crate) fn pump(&mut self, scratch: &mut [u8]) -> bool {
        let Some(source) = &self.source else {
            return false;
        };
        match rustix::io::read(source, &mut *scratch) {
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(0) | Err(_) => {
                self.source = None;
                false
            }
            Ok(count) => {
                let room = self.output_bytes_max.saturating_sub(self.output.len());
                self.output.extend_from_slice(&scratch[..count.min(room)]);
                self.truncated |= count > room;
                true
            }
        }
    }

    /// Its answer, with what it had written when it ended. A child that goes on writing is not
    /// waited for.
    pub(crate) fn finish(mut self, exit: Exit, scratch: &mut [u8]) -> ExecResult {
        let mut left = DRAIN_BYTES_MAX;
        while left > 0 && self.pump(scratch) {
            left = left.saturating_sub(scratch.len());
        }
        ExecResult {
            exit,
            output: self.output,
            timed_out: self.timed_out,
            truncated: self.truncated,
        }
    }
}
