//! What a process on its way to execve tells the one that prepared it, over a socket that execve
//! closes: the end without a word is success.
//!
//! Records: `E` an error (step, index, errno), `T` a terminal's master, `P` the pidfd of a process
//! born late, `X` a program that the kernel did not run, though its process did start ([`Seen`]).
//! Descriptors travel beside the letter.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::fault::{self, Seen};
use super::kernel::{self, MESSAGE_FDS_MAX, Sys};
use super::owned;

/// The steps an error can come from. The order is the wire's, the names are what users read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    Cgroup,
    Namespaces,
    RootFs,
    Proc,
    Dev,
    Sys,
    Mount,
    Sysctl,
    Mask,
    Hostname,
    Tty,
    Stdio,
    Rlimit,
    OomScoreAdj,
    Cwd,
    Credentials,
    Seccomp,
    Exec,
    Device,
}

const STEPS: [(Step, &str); 19] = [
    (Step::Cgroup, "cgroup"),
    (Step::Namespaces, "namespaces"),
    (Step::RootFs, "rootfs"),
    (Step::Proc, "proc"),
    (Step::Dev, "dev"),
    (Step::Sys, "sys"),
    (Step::Mount, "mount"),
    (Step::Sysctl, "sysctl"),
    (Step::Mask, "mask"),
    (Step::Hostname, "hostname"),
    (Step::Tty, "tty"),
    (Step::Stdio, "stdio"),
    (Step::Rlimit, "rlimit"),
    (Step::OomScoreAdj, "oom_score_adj"),
    (Step::Cwd, "cwd"),
    (Step::Credentials, "credentials"),
    (Step::Seccomp, "seccomp"),
    (Step::Exec, "exec"),
    (Step::Device, "device"),
];

impl Step {
    pub(super) fn name(self) -> &'static str {
        STEPS[self as usize].1
    }

    fn from_byte(byte: u8) -> Option<Step> {
        STEPS.get(usize::from(byte)).map(|(step, _)| *step)
    }
}

/// A failed call between clone and execve. `index` says which of several: a mount, a sysctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) index: u16,
    pub(super) errno: i32,
}

pub(super) type Done<T> = Result<T, Failure>;

/// Names the step of a kernel's answer.
pub(super) trait At<T> {
    fn at(self, step: Step) -> Done<T>;
    fn at_index(self, step: Step, index: usize) -> Done<T>;
}

impl<T> At<T> for Sys<T> {
    fn at(self, step: Step) -> Done<T> {
        self.at_index(step, 0)
    }

    fn at_index(self, step: Step, index: usize) -> Done<T> {
        self.map_err(|errno| Failure {
            step,
            index: u16::try_from(index).unwrap_or(u16::MAX),
            errno,
        })
    }
}

/// Reports and ends this process.
pub(super) fn fail(report: RawFd, failure: Failure) -> ! {
    let _ = kernel::send(report, &encode(failure), &[]);
    kernel::exit(if failure.errno == libc::ENOENT {
        127
    } else {
        126
    })
}

fn encode(failure: Failure) -> [u8; 8] {
    let index = failure.index.to_le_bytes();
    let errno = failure.errno.to_le_bytes();
    [
        b'E',
        failure.step as u8,
        index[0],
        index[1],
        errno[0],
        errno[1],
        errno[2],
        errno[3],
    ]
}

fn decode(bytes: &[u8]) -> Option<Failure> {
    let [b'E', step, a, b, errno @ ..] = bytes else {
        return None;
    };
    Some(Failure {
        step: Step::from_byte(*step)?,
        index: u16::from_le_bytes([*a, *b]),
        errno: i32::from_le_bytes(errno.try_into().ok()?),
    })
}

pub(super) fn send_terminal(report: RawFd, master: RawFd) -> Sys<()> {
    kernel::send(report, b"T", &[master]).map(drop)
}

pub(super) fn send_born(report: RawFd, pidfd: RawFd) -> Sys<()> {
    kernel::send(report, b"P", &[pidfd]).map(drop)
}

/// Everything that was said until the end.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) terminal: Option<OwnedFd>,
    pub(super) born: Option<OwnedFd>,
    pub(super) failure: Option<Failure>,
    pub(super) fault: Option<Seen>,
}

/// Listens until execve, or the process's end, closes the other side.
pub(super) fn listen(socket: &OwnedFd) -> Heard {
    let mut heard = Heard::default();
    let (mut bytes, mut fds) = ([0u8; 256], [-1; MESSAGE_FDS_MAX]);
    loop {
        let (length, count) = match kernel::receive(socket.as_raw_fd(), &mut bytes, &mut fds) {
            Ok((0, _)) | Err(_) => return heard,
            Ok(received) => received,
        };
        let fd = fds[..count].first().copied().map(owned);
        match bytes[0] {
            b'T' => heard.terminal = fd,
            b'P' => heard.born = fd,
            fault::LETTER => heard.fault = Seen::decode(&bytes[..length]),
            _ => heard.failure = heard.failure.or(decode(&bytes[..length])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_at_their_own_number() {
        for (number, (step, _)) in STEPS.iter().enumerate() {
            assert_eq!(*step as usize, number);
        }
    }

    #[test]
    fn failures_cross_the_socket() {
        let failure = Failure {
            step: Step::Mount,
            index: 700,
            errno: libc::ENOTDIR,
        };
        assert_eq!(decode(&encode(failure)), Some(failure));
        assert_eq!(decode(b"E"), None);
        assert_eq!(decode(b"E\xff\0\0\0\0\0\0"), None);
    }
}
