//! A process that waits in a container's v1 groups until the container is wanted.
//!
//! Joining a v1 group after a pause makes the kernel wait for every processor, a dozen
//! milliseconds. The parked process, a fork of the shim, has done so ahead; it is handed the spec
//! and the descriptors, goes through the same sequence as the shim would, and clones the container
//! as a sibling: a child of the shim, born inside the groups.
//!
//! Nothing is written to a file on the way: the spec's environment may hold secrets.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use minicbor::{Decode, Encode};

use super::kernel::{self, MESSAGE_FDS_MAX};
use super::{
    Born, Failed, Launched, OrFailed, Parent, Shared, StartError, Starter, Stdio, failed, owned,
    readable,
};
use crate::spec::ContainerSpec;
use windlass_model::program_fault::ProgramFault;

/// Largest message in either direction, bytes.
const MESSAGE_MAX_BYTES: usize = 16 << 20;

pub(super) struct Parked {
    pidfd: OwnedFd,
    socket: OwnedFd,
}

#[derive(Encode, Decode)]
struct Request {
    #[n(0)]
    slot: u32,
    #[n(1)]
    spec: ContainerSpec,
    #[n(2)]
    shares_pid: bool,
    #[n(3)]
    shares_ipc: bool,
    /// The sandbox's group and private folder: they may have got their names after the fork.
    #[n(4)]
    parent: String,
    #[n(5)]
    staging: String,
}

/// The descriptors beside it: the process, its terminal, then those to reap.
#[derive(Encode, Decode)]
struct Answer {
    #[n(0)]
    pid: i32,
    #[n(1)]
    has_terminal: bool,
    #[n(2)]
    error: Option<StartError>,
    #[n(3)]
    fault: Option<ProgramFault>,
}

impl Parked {
    /// Forks. The copy joins the groups on its own time.
    pub(super) fn new(starter: &mut Starter, procs: Vec<OwnedFd>) -> Result<Parked, StartError> {
        let what = || "parked process".to_owned();
        let [ours, theirs] = kernel::socketpair(libc::SOCK_STREAM)
            .or_failed("clone", what)?
            .map(owned);
        let pid = kernel::fork().or_failed("clone", what)?;
        if pid == 0 {
            serve(starter, theirs, procs);
        }
        let pidfd = kernel::pidfd_open(pid)
            .map(owned)
            .or_failed("clone", what)?;
        Ok(Parked {
            pidfd,
            socket: ours,
        })
    }

    pub(super) fn is_alive(&self) -> bool {
        !readable(&self.pidfd)
    }

    /// Has the container started. The parked process ends with it.
    pub(super) fn start(
        self,
        starter: &Starter,
        spec: &ContainerSpec,
        namespaces: &Shared<'_>,
        stdio: Stdio,
        slot: u32,
    ) -> Result<Launched, StartError> {
        let request = Request {
            slot,
            spec: spec.clone(),
            shares_pid: namespaces.pid.is_some(),
            shares_ipc: namespaces.ipc.is_some(),
            parent: starter.groups.parent().to_owned(),
            staging: starter.staging.to_string_lossy().into_owned(),
        };
        let mut fds = vec![
            stdio.stdin.as_raw_fd(),
            stdio.stdout.as_raw_fd(),
            stdio.stderr.as_raw_fd(),
        ];
        let shared = [namespaces.pid, namespaces.ipc];
        fds.extend(shared.iter().flatten().map(AsRawFd::as_raw_fd));
        let lost = |errno| failed("clone", errno, "the parked process does not answer");
        let bytes = minicbor::to_vec(&request).map_err(|_| lost(libc::EINVAL))?;
        send(self.socket.as_fd(), &bytes, &fds).map_err(lost)?;
        drop(stdio);
        let (bytes, fds) = receive(self.socket.as_fd()).map_err(lost)?;
        let answer: Answer = minicbor::decode(&bytes).map_err(|_| lost(libc::EBADMSG))?;
        let mut fds = fds.into_iter();
        let born = match answer.error {
            None => {
                let pidfd = fds.next().ok_or_else(|| lost(libc::EBADMSG))?;
                let pty = if answer.has_terminal {
                    fds.next()
                } else {
                    None
                };
                Ok(Born {
                    pid: answer.pid,
                    pidfd,
                    pty,
                    fault: answer.fault,
                })
            }
            Some(error) => Err(Failed::Here(error)),
        };
        Ok(Launched {
            result: born,
            remains: fds.collect(),
        })
    }
}

impl Drop for Parked {
    /// It has nothing more to do, whether it answered or never will.
    fn drop(&mut self) {
        let _ = kernel::pidfd_signal(self.pidfd.as_raw_fd(), libc::SIGKILL);
        kernel::reap(self.pidfd.as_raw_fd());
    }
}

/// The parked process: joins, waits for one request, answers it and ends.
fn serve(starter: &mut Starter, socket: OwnedFd, procs: Vec<OwnedFd>) -> ! {
    // The shim's end is this process's: nobody else would ever ask it.
    let _ = kernel::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64);
    close_others(starter, &socket, &procs);
    for file in &procs {
        if kernel::write(file.as_raw_fd(), b"0").is_err() {
            kernel::exit(1);
        }
    }
    drop(procs);
    let Ok((bytes, fds)) = receive(socket.as_fd()) else {
        kernel::exit(0);
    };
    let done = minicbor::decode::<Request>(&bytes)
        .ok()
        .and_then(|request| act(starter, request, fds))
        .and_then(|launched| answer(socket.as_fd(), launched));
    kernel::exit(i32::from(done.is_none()))
}

/// The shim's other descriptors (logs, sockets, pipes of siblings) must not live on in here: a
/// reader of one of those would wait for this process too.
fn close_others(starter: &Starter, socket: &OwnedFd, procs: &[OwnedFd]) {
    let mut keep: Vec<RawFd> = vec![
        0,
        1,
        2,
        socket.as_raw_fd(),
        starter.ground.executable.as_raw_fd(),
    ];
    keep.extend(procs.iter().map(AsRawFd::as_raw_fd));
    keep.sort_unstable();
    let mut first = 0u32;
    for fd in keep {
        let fd = fd as u32;
        if fd > first {
            let _ = kernel::close_range(first, fd - 1);
        }
        first = fd + 1;
    }
    let _ = kernel::close_range(first, u32::MAX);
}

fn act(starter: &mut Starter, request: Request, fds: Vec<OwnedFd>) -> Option<Launched> {
    let mut fds = fds.into_iter();
    let stdio = Stdio {
        stdin: fds.next()?,
        stdout: fds.next()?,
        stderr: fds.next()?,
    };
    let mut next = |wanted: bool| {
        if wanted {
            fds.next().map(Some)
        } else {
            Some(None)
        }
    };
    let pid = next(request.shares_pid)?;
    let ipc = next(request.shares_ipc)?;
    let shared = Shared {
        pid: pid.as_ref().map(AsFd::as_fd),
        ipc: ipc.as_ref().map(AsFd::as_fd),
    };
    starter.groups.set_parent(request.parent);
    starter.staging = request.staging.into();
    Some(starter.launch_container(request.slot, &request.spec, &shared, stdio, Parent::Mine))
}

fn answer(socket: BorrowedFd<'_>, launched: Launched) -> Option<()> {
    let mut fds: Vec<RawFd> = Vec::new();
    let answer = match &launched.result {
        Ok(born) => {
            fds.push(born.pidfd.as_raw_fd());
            fds.extend(born.pty.iter().map(AsRawFd::as_raw_fd));
            Answer {
                pid: born.pid,
                has_terminal: born.pty.is_some(),
                error: None,
                fault: born.fault.clone(),
            }
        }
        Err(Failed::Here(error)) => Answer {
            pid: 0,
            has_terminal: false,
            error: Some(error.clone()),
            fault: None,
        },
        Err(Failed::InChild(failure)) => Answer {
            pid: 0,
            has_terminal: false,
            error: Some(failed(failure.step.name(), failure.errno, "the container")),
            fault: None,
        },
    };
    fds.extend(launched.remains.iter().map(AsRawFd::as_raw_fd));
    send(socket, &minicbor::to_vec(&answer).ok()?, &fds).ok()
}

/// A length, the descriptors beside it, and the bytes.
fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> Result<(), i32> {
    let length = u32::try_from(bytes.len()).map_err(|_| libc::E2BIG)?;
    if bytes.len() > MESSAGE_MAX_BYTES {
        return Err(libc::E2BIG);
    }
    if kernel::send(socket.as_raw_fd(), &length.to_le_bytes(), fds)? != 4 {
        return Err(libc::EIO);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let sent = kernel::send(socket.as_raw_fd(), rest, &[])?;
        rest = &rest[sent..];
    }
    Ok(())
}

fn receive(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, Vec<OwnedFd>), i32> {
    let mut length = [0u8; 4];
    let mut fds = [-1; MESSAGE_FDS_MAX];
    let (got, count) = kernel::receive(socket.as_raw_fd(), &mut length, &mut fds)?;
    let fds: Vec<_> = fds[..count].iter().copied().map(owned).collect();
    let length = u32::from_le_bytes(length) as usize;
    if got != 4 || length > MESSAGE_MAX_BYTES {
        return Err(libc::EBADMSG);
    }
    let mut bytes = vec![0; length];
    let mut at = 0;
    while at < length {
        let mut none = [-1; MESSAGE_FDS_MAX];
        match kernel::receive(socket.as_raw_fd(), &mut bytes[at..], &mut none)? {
            (0, _) => return Err(libc::EBADMSG),
            (got, _) => at += got,
        }
    }
    Ok((bytes, fds))
}
