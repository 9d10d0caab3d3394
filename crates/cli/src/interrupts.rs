//! The signals by which a person, a service manager or a closing terminal ends a verb.

use crate::failure::Failure;
use std::fs;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, a request to terminate, and the end of the terminal.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// Nothing under `nohup`, which wants it ignored.
    hangup: Option<Signal>,
}

/// Which of them came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Somebody wants an end.
    Asked,
    /// The terminal is closed.
    Hangup,
}

impl Interrupts {
    pub(crate) fn new() -> Result<Interrupts, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::file("listen for signals"));
        let hangup = SignalKind::hangup();
        // A handler would take the place of what `nohup` asked for.
        let is_ignored = is_ignored(hangup.as_raw_value());
        Ok(Interrupts {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: match is_ignored {
                true => None,
                false => Some(listen(hangup)?),
            },
        })
    }

    pub(crate) async fn next(&mut self) -> Interrupt {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::Asked,
            _ = self.terminate.recv() => Interrupt::Asked,
            _ = hangup => Interrupt::Hangup,
        }
    }
}

/// Whether the process ignores a signal. Source: proc_pid_status(5), SigIgn.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(signal)
        .ok()
        .and_then(|signal| signal.checked_sub(1));
    let bit = bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0);
    mask.unwrap_or(0) & bit != 0
}
