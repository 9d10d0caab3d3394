//! The product's own processes: starting one without forking the agent, and removing what a dead
//! shim left.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::folder::{Folder, RunDir, host};
use crate::shim::{FOLDER_FD, LISTENER_FD, STDERR};
use crate::spec::SandboxId;
use crate::{Error, start};

/// Descriptors are moved above this before they get their numbers: none may stand in another's way.
const FD_FLOOR: i32 = 16;
/// How long killed processes may take to leave their cgroup.
const DYING_TIME: Duration = Duration::from_secs(10);

/// Runs `EXECUTABLE shim CGROUP_ROOT`, as leader of a session of its own. Returns when the kernel
/// has executed it; posix_spawn shares the agent's memory until then instead of copying its tables.
pub(crate) fn spawn(executable: &Path, cgroup_root: &str, folder: &Folder) -> Result<(), Error> {
    let failed = |error: io::Error| Error::Host {
        what: format!("start {} as a shim", executable.display()),
        reason: error.to_string(),
    };
    let listener = lift(&folder.listen()?).map_err(failed)?;
    let directory = lift(&folder.open()?).map_err(failed)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| failed(e.into()))?;
    let null = lift(&null).map_err(failed)?;
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = folder.path().join(STDERR);
    let stderr = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|e| host(&path, &e.into()))?;
    let stderr = lift(&stderr).map_err(failed)?;
    let targets = [
        (&null, 0),
        (&null, 1),
        (&stderr, 2),
        (&listener, LISTENER_FD),
        (&directory, FOLDER_FD),
    ];
    let args = ["windlass", "shim", cgroup_root];
    let pid = posix_spawn(executable, &args, &targets).map_err(failed)?;
    reap_later(pid).map_err(failed)
}

/// Runs `EXECUTABLE ROLE` as leader of a session of its own and in the group of the installation's
/// shims, with this as its standard input and without an environment. Returns when the kernel has executed it. Its end is nobody's concern but
/// the caller's.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// What the kernel says.
pub fn spawn_role(
    executable: &Path,
    role: &str,
    cgroup_root: &str,
    stdin: &OwnedFd,
) -> io::Result<()> {
    let stdin = lift(stdin)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let null = lift(&null)?;
    let targets = [(&stdin, 0), (&null, 1), (&null, 2)];
    let pid = posix_spawn(executable, &["windlass", role], &targets)?;
    if let Err(error) = start::take_out_of_service(cgroup_root, pid) {
        tracing::warn!(role, %error, "it ends with the service that this process belongs to");
    }
    reap_later(pid)
}

fn lift(fd: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, FD_FLOOR)?)
}

fn posix_spawn(executable: &Path, args: &[&str], targets: &[(&OwnedFd, i32)]) -> io::Result<Pid> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let program = text(executable.as_os_str().as_bytes())?;
    let args = args.iter().map(|arg| text(arg.as_bytes()));
    let args = args.collect::<io::Result<Vec<_>>>()?;
    let mut argv: Vec<*mut libc::c_char> = args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
    argv.push(std::ptr::null_mut());
    // The agent's environment may hold credentials; a shim needs none of it.
    let envp: [*mut libc::c_char; 1] = [std::ptr::null_mut()];
    let check = |code: i32| {
        if code == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(code))
        }
    };
    let mut pid = 0;
    // SAFETY: both objects are initialised by their init calls before use and destroyed after the
    // spawn; every pointer (program, argv, envp, signal sets) outlives the call, and both arrays
    // end in null.
    unsafe {
        let mut actions: libc::posix_spawn_file_actions_t = std::mem::zeroed();
        check(libc::posix_spawn_file_actions_init(&raw mut actions))?;
        let mut attributes: libc::posix_spawnattr_t = std::mem::zeroed();
        let mut result = check(libc::posix_spawnattr_init(&raw mut attributes));
        for (fd, number) in targets {
            let add = libc::posix_spawn_file_actions_adddup2;
            result = result.and_then(|()| check(add(&raw mut actions, fd.as_raw_fd(), *number)));
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::posix_spawnattr_setsigmask(&raw mut attributes, &raw const none);
        libc::posix_spawnattr_setsigdefault(&raw mut attributes, &raw const all);
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID;
        let flags = libc::c_short::try_from(flags).unwrap_or(libc::c_short::MAX);
        libc::posix_spawnattr_setflags(&raw mut attributes, flags);
        result = result.and_then(|()| {
            check(libc::posix_spawn(
                &raw mut pid,
                program.as_ptr(),
                &raw const actions,
                &raw const attributes,
                argv.as_ptr(),
                envp.as_ptr(),
            ))
        });
        libc::posix_spawnattr_destroy(&raw mut attributes);
        libc::posix_spawn_file_actions_destroy(&raw mut actions);
        result?;
    }
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("posix_spawn gave no process"))
}

/// glibc's and musl's value; the libc crate does not name it.
const POSIX_SPAWN_SETSID: i32 = 0x80;

/// A shim is the agent's child until one of them ends: somebody has to take its exit status.
fn reap_later(pid: Pid) -> io::Result<()> {
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    // SAFETY: the descriptor is owned, valid, and moved in; nothing replaces or closes it while it
    // is registered.
    let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
    tokio::spawn(async move {
        if pidfd.readable().await.is_ok() {
            let _ = rustix::process::waitid(
                WaitId::PidFd(pidfd.get_ref().as_fd()),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            );
        }
    });
    Ok(())
}

/// Kills a sandbox whose shim does not answer: the shim, and all that it holds.
pub(crate) fn kill(run_dir: &RunDir, cgroup_root: &str, id: &SandboxId) -> Result<(), Error> {
    let Some(folder) = run_dir.find(id) else {
        return Err(Error::NoSandbox(id.clone()));
    };
    if let Some(pidfd) = folder.shim_pidfd() {
        end(&pidfd);
    }
    start::kill_cgroup(&format!("{cgroup_root}/{id}")).map_err(|error| Error::Host {
        what: format!("kill the processes of sandbox {id}"),
        reason: error.to_string(),
    })
}

/// Removes a sandbox whose shim has ended or does not answer. Goes on after errors.
pub(crate) fn remove(
    run_dir: &RunDir,
    cgroup_root: &str,
    id: &SandboxId,
) -> Result<(), Vec<Error>> {
    let Some(folder) = run_dir.find(id) else {
        return Ok(());
    };
    let mut errors = Vec::new();
    let left = |what: &str, reason: String| Error::Left {
        sandbox: id.clone(),
        what: what.into(),
        reason,
    };
    if let Some(pidfd) = folder.shim_pidfd() {
        end(&pidfd);
    }
    let deadline = Instant::now() + DYING_TIME;
    let cgroup = format!("{cgroup_root}/{id}");
    loop {
        if let Err(error) = start::kill_cgroup(&cgroup) {
            errors.push(left("its processes", error.to_string()));
            break;
        }
        let remaining = start::remove_cgroups(&cgroup);
        if remaining.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            errors.extend(
                remaining
                    .iter()
                    .map(|error| left("its cgroup", error.to_string())),
            );
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // The folder goes last: while it is there, the sandbox is found and removed again.
    if errors.is_empty()
        && let Err(error) = std::fs::remove_dir_all(folder.path())
        && error.kind() != io::ErrorKind::NotFound
    {
        errors.push(left("its folder", error.to_string()));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Gives a shim that has said goodbye a moment, then kills it.
fn end(pidfd: &OwnedFd) {
    let has_ended = |ms: i64| {
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: ms * 1_000_000,
        };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&time)).is_ok_and(|ready| ready > 0)
    };
    if !has_ended(200) {
        let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        has_ended(900);
    }
}
