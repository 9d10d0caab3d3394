//! The process that owns one sandbox: `windlass shim`.
//!
//! It starts the sandbox's containers, holds their streams and writes their logs, reaps them, sends
//! their stop signals and the kills that follow, and answers the agent on a unix socket. It outlives
//! agents: one that comes back finds its containers running and hears what happened meanwhile.
//!
//! Not here: what to run and when. The agent decides, and acts again when it is back.
//!
//! One thread and no runtime: there is one of these per task, and it waits most of its life. It
//! runs from a sealed copy of its executable, because a container's process can name the executable
//! it was started from.
//!
//! The agent hands over two descriptors: the listening socket and the shim's folder, so that
//! nothing has to be waited for and the folder may be renamed when the shim leaves the pool.

mod clock;
mod connection;
mod container;
mod exec;
mod holder;
pub mod launch;
mod lines;
mod log;
pub(crate) mod record;
mod removal;
mod request;
mod service;
mod words;

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags};

use crate::spec::{SandboxId, StartError};
use crate::start::{self, Starter};
use launch::Launcher;
use service::Service;
use words::say;

/// Where the agent puts the listening socket, …
pub(crate) const LISTENER_FD: RawFd = 3;
/// … and the shim's folder.
pub(crate) const FOLDER_FD: RawFd = 4;

/// The socket's name in the folder.
pub(crate) const SOCKET: &str = "shim.sock";
/// Names the process: its number and its start time, for an agent that has to kill a mute shim.
pub(crate) const PID: &str = "shim.pid";
/// What the shim wrote to its standard error: panics, mostly.
pub(crate) const STDERR: &str = "stderr";
/// Where starts put what they need for a moment.
const STAGING: &str = "staging";

/// The role `shim`: seals the program, serves one sandbox, and ends the process. `args` are the
/// process's own, all of them: program, `shim`, and the cgroup that holds the installation's
/// sandboxes. To be called before threads and descriptors exist.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ! {
    let code = match run(args) {
        Ok(()) => 0,
        Err(error) => {
            say(&format!("windlass shim: {error}"));
            1
        }
    };
    std::process::exit(code);
}

fn run(args: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    let args = args.into_iter().map(|arg| CString::new(arg.into_vec()));
    let args: Vec<CString> = args.collect::<Result<_, _>>()?;
    let [_, _, cgroup_root] = args.as_slice() else {
        return Err(by_hand());
    };
    let cgroup_root = cgroup_root.to_str().map_err(io::Error::other)?;
    let again: Vec<&CStr> = args.iter().map(CString::as_c_str).collect();
    start::seal_self(&again).map_err(io::Error::other)?;
    serve(|id, staging| {
        Starter::new(start::Options {
            cgroup: start::Cgroups {
                parent: format!("{cgroup_root}/{id}"),
            },
            staging: staging.to_owned(),
        })
    })
}

fn by_hand() -> io::Error {
    io::Error::other("a shim is started by its agent, not by hand")
}

/// Runs a shim with a launcher of the caller's making until its sandbox is removed. `prepare` gets
/// the name of the sandbox, or of the spare shim, and a private folder.
///
/// # Errors
/// The descriptors are not those of a shim, or the kernel refused what every shim needs.
pub fn serve<L: Launcher>(
    mut prepare: impl FnMut(&SandboxId, &Path) -> Result<L, StartError>,
) -> io::Result<()> {
    let (listener, folder) = inherited()?;
    let signals = settle(folder.as_fd())?;
    Service::new(
        listener.as_fd(),
        folder.as_fd(),
        signals.as_fd(),
        &mut prepare,
    )
    .run()?;
    Ok(())
}

/// The descriptors the agent handed over.
fn inherited() -> io::Result<(OwnedFd, OwnedFd)> {
    let foreign = |_| by_hand();
    for fd in [LISTENER_FD, FOLDER_FD] {
        // SAFETY: borrowed for this call alone; a number that is not open is refused by the kernel.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(foreign)?;
    }
    // SAFETY: both are open, see above, and nothing else in this process owns them: `serve` is
    // called first and once.
    let (listener, folder) = unsafe {
        (
            OwnedFd::from_raw_fd(LISTENER_FD),
            OwnedFd::from_raw_fd(FOLDER_FD),
        )
    };
    // What its agent had from whoever started it: a pipe or a lock that would live as long as the
    // task.
    start::close_from(FOLDER_FD + 1)?;
    // Connecting processes see the credentials of the one that listened last: this one.
    rustix::net::listen(&listener, 16).map_err(foreign)?;
    container::unblock(&listener)?;
    Ok((listener, folder))
}

/// Makes the process what a shim is; returns the descriptor that reports children.
fn settle(folder: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // It may be the leader of its session already, by the way it was started.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // SAFETY: the set is initialised by sigemptyset before it is used, and the calls take valid
    // pointers to it. The process has one thread, so its mask is the process's.
    let signals = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        // A log on a full quota, an agent that went away and a service manager that ends its
        // agent must not end the containers.
        for signal in [
            libc::SIGPIPE,
            libc::SIGXFSZ,
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGTERM,
        ] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if signals < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: signalfd has just made it, and nothing else owns it.
    let signals = unsafe { OwnedFd::from_raw_fd(signals) };
    write_pid(folder)?;
    Ok(signals)
}

fn write_pid(folder: BorrowedFd<'_>) -> io::Result<()> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let start = start_time(pid).ok_or_else(|| io::Error::other("/proc is not readable"))?;
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, PID, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::io::write(&file, format!("{pid} {start}\n").as_bytes())?;
    Ok(())
}

/// When a process started, in the kernel's ticks: with its number, its name for good.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything, brackets too.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A private folder by its present name: the shim's own is renamed when it leaves the pool.
pub(crate) fn staging(folder: BorrowedFd<'_>) -> Result<PathBuf, StartError> {
    let made = match rustix::fs::mkdirat(folder, STAGING, Mode::RWXU) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    };
    let failed = |errno: Errno| StartError {
        stage: "staging".into(),
        errno: errno.raw_os_error(),
        detail: STAGING.into(),
    };
    let path = made.and_then(|()| {
        std::fs::read_link(format!("/proc/self/fd/{FOLDER_FD}"))
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::NOENT))
    });
    Ok(path.map_err(failed)?.join(STAGING))
}
