//! The program to run: everything a first process and an exec have in common, from its standard
//! streams to execve. One function builds the confinement for both, so that neither is the weaker.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::capability;
use super::cgroup::Share;
use super::path::{self, Kind, Links};
use super::report::{At, Done, Failure, Step, send_born, send_terminal};
use super::user::User;
use super::{fault, kernel};

/// Where the report socket lies from the last steps on; init receives it there.
pub(super) const REPORT_FD: RawFd = 3;
/// The place among the groups' failures for the one of [`take_share`].
pub(super) const SHARE: usize = u16::MAX as usize;
/// Where the init program lies.
const INIT_FD: RawFd = 4;

/// Strings as execve takes them.
pub(super) struct CStrings {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl CStrings {
    pub(super) fn new(strings: Vec<CString>) -> CStrings {
        // The strings' bytes do not move when the vector does.
        let pointers = strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([std::ptr::null()])
            .collect();
        CStrings {
            pointers,
            _strings: strings,
        }
    }
}

pub(super) struct Rlimit {
    pub(super) resource: u32,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// A program, ready for a process that may not allocate any more.
pub(super) struct Program {
    pub(super) args: CStrings,
    pub(super) env: CStrings,
    /// The paths execve tries in turn.
    pub(super) candidates: Vec<CString>,
    pub(super) cwd: CString,
    pub(super) make_cwd: bool,
    pub(super) user: User,
    pub(super) capabilities: u64,
    pub(super) last_capability: u64,
    pub(super) no_new_privileges: bool,
    pub(super) filter: Option<std::rc::Rc<Vec<libc::sock_filter>>>,
    pub(super) rlimits: Vec<Rlimit>,
    pub(super) oom_score_adj: CString,
    /// Absent with a terminal.
    pub(super) stdio: Option<[OwnedFd; 3]>,
    /// The init program and its arguments, if one is to be process 1.
    pub(super) init: Option<(OwnedFd, CStrings)>,
    /// Of the container's group, for its first process.
    pub(super) share: Option<Share>,
}

/// How the process that runs the program comes to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Birth {
    /// This very process.
    Here,
    /// A child made at the last moment, with the container's privileges and none of this one's
    /// descriptors: nothing stronger ever shows itself in a process id namespace that others are in.
    Late,
}

/// The first steps of every process of a container: while still the host's.
pub(super) fn begin(program: &Program, procs: &[OwnedFd]) -> Done<()> {
    // A shim that dies half-way must not leave a half-made container. Cleared before execve.
    let _ = kernel::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64);
    kernel::umask(0);
    for (index, file) in procs.iter().enumerate() {
        kernel::write(file.as_raw_fd(), b"0").at_index(Step::Cgroup, index)?;
    }
    // Through the host's /proc: no container has had a say in it.
    let file = kernel::open(c"/proc/self/oom_score_adj", libc::O_WRONLY).at(Step::OomScoreAdj)?;
    kernel::write(file, program.oom_score_adj.to_bytes()).at(Step::OomScoreAdj)?;
    kernel::close(file);
    Ok(())
}

/// Opens a terminal of the devpts mount, sends its master away and makes the other end the
/// standard streams. No path is looked up.
pub(super) fn open_terminal(devpts: RawFd, report: RawFd, birth: Birth) -> Done<()> {
    let master = kernel::openat2(
        devpts,
        c"ptmx",
        libc::O_RDWR | libc::O_NOCTTY,
        0,
        kernel::RESOLVE_BENEATH | kernel::RESOLVE_NO_SYMLINKS,
    )
    .at(Step::Tty)?;
    let peer = kernel::open_pty_peer(master).at(Step::Tty)?;
    send_terminal(report, master).at(Step::Tty)?;
    kernel::close(master);
    if birth == Birth::Here {
        kernel::setsid().at(Step::Tty)?;
        kernel::take_terminal(peer).at(Step::Tty)?;
    }
    for stream in 0..3 {
        kernel::dup3(peer, stream, 0).at(Step::Tty)?;
    }
    kernel::close(peer);
    Ok(())
}

/// From the container's finished mounts to execve. `root` is the container's root.
pub(super) fn run(program: &Program, root: RawFd, report: RawFd, birth: Birth) -> Done<Infallible> {
    kernel::umask(0o022);
    streams(program, birth)?;
    for (index, limit) in program.rlimits.iter().enumerate() {
        kernel::setrlimit(limit.resource, limit.soft, limit.hard).at_index(Step::Rlimit, index)?;
    }
    kernel::reset_signals();
    kernel::join_new_keyring();
    enter_cwd(program, root)?;
    close_the_rest(program, report)?;
    privileges(program)?;
    take_share(program)?;
    let _ = kernel::prctl(libc::PR_SET_PDEATHSIG, 0);
    let _ = kernel::set_signal_mask(0);
    if birth == Birth::Late {
        be_born(program)?;
    }
    exec(program)
}

fn streams(program: &Program, birth: Birth) -> Done<()> {
    let Some(stdio) = &program.stdio else {
        return own_streams(program.user.uid, true);
    };
    if birth == Birth::Here {
        kernel::setsid().at(Step::Stdio)?;
    }
    for (stream, fd) in (0..).zip(stdio) {
        kernel::dup3(fd.as_raw_fd(), stream, 0).at(Step::Stdio)?;
    }
    own_streams(program.user.uid, false)
}

/// A program that is not root must be able to open /dev/stdout anew. Devices that others share,
/// such as null, keep their owner.
fn own_streams(uid: u32, terminal: bool) -> Done<()> {
    if uid == 0 && !terminal {
        return Ok(());
    }
    for stream in 0..3 {
        let kind = kernel::file_type(stream).at(Step::Stdio)?;
        let ours = kind == libc::S_IFIFO || kind == libc::S_IFSOCK;
        if ours || terminal && kind == libc::S_IFCHR {
            let _ = kernel::fchown(stream, uid, None);
        }
    }
    Ok(())
}

fn enter_cwd(program: &Program, root: RawFd) -> Done<()> {
    let open = if program.make_cwd {
        path::open_or_make
    } else {
        path::open_existing
    };
    let folder = open(root, &program.cwd, Kind::Folder, Links::Follow).at(Step::Cwd)?;
    kernel::fchdir(folder).at(Step::Cwd)
}

/// Leaves the standard streams, the report socket and, if there are, the init program and the
/// group's share.
fn close_the_rest(program: &Program, report: RawFd) -> Done<()> {
    let report = kernel::dup_above(report, 64).at(Step::Exec)?;
    let mut first = REPORT_FD as u32 + 1;
    if let Some((init, _)) = &program.init {
        let init = kernel::dup_above(init.as_raw_fd(), 64).at(Step::Exec)?;
        kernel::dup3(init, INIT_FD, libc::O_CLOEXEC).at(Step::Exec)?;
        first += 1;
    }
    kernel::dup3(report, REPORT_FD, libc::O_CLOEXEC).at(Step::Exec)?;
    if let Some(share) = &program.share {
        let kept = share.file.as_raw_fd() as u32;
        kernel::close_range(first, kept - 1).at(Step::Exec)?;
        first = kept + 1;
    }
    kernel::close_range(first, u32::MAX).at(Step::Exec)
}

/// The program must never see another share than its own, and what comes before it should not have
/// to live with it.
fn take_share(program: &Program) -> Done<()> {
    let Some(share) = &program.share else {
        return Ok(());
    };
    let file = share.file.as_raw_fd();
    kernel::write(file, share.value.to_bytes()).at_index(Step::Cgroup, SHARE)?;
    // A process born late inherits nothing of this.
    kernel::close(file);
    Ok(())
}

/// From here on only what the container may do. Failures still reach the report: it lies at
/// [`REPORT_FD`] now.
fn privileges(program: &Program) -> Done<()> {
    let step = Step::Credentials;
    capability::drop_bounding(program.capabilities, program.last_capability).at(step)?;
    if program.no_new_privileges {
        kernel::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).at(step)?;
    }
    // Without no_new_privileges a filter needs SYS_ADMIN, which goes below; with it the filter
    // comes last, so that the calls below need not be in it.
    if let (Some(filter), false) = (&program.filter, program.no_new_privileges) {
        kernel::seccomp(filter).at(Step::Seccomp)?;
    }
    let user = &program.user;
    kernel::setgroups(&user.groups).at(step)?;
    kernel::setresgid(user.gid).at(step)?;
    kernel::setresuid(user.uid).at(step)?;
    // Another user than root keeps the bounding set alone, as after any execve of it; keeping more
    // would let execve itself read what the user may not.
    let keep = if user.uid == 0 {
        program.capabilities
    } else {
        0
    };
    capability::apply(keep).at(step)?;
    if let (Some(filter), true) = (&program.filter, program.no_new_privileges) {
        kernel::seccomp(filter).at(Step::Seccomp)?;
    }
    Ok(())
}

/// Makes the process that goes on; this one says who it is and ends. The answer is in the new one.
fn be_born(program: &Program) -> Done<()> {
    if let Some(pidfd) = kernel::clone_sibling().at(Step::Namespaces)? {
        let said = send_born(REPORT_FD, pidfd);
        kernel::exit(i32::from(said.is_err()));
    }
    kernel::setsid().at(Step::Tty)?;
    if program.stdio.is_none() {
        kernel::take_terminal(0).at(Step::Tty)?;
    }
    Ok(())
}

fn exec(program: &Program) -> Done<Infallible> {
    let args = |strings: &CStrings| strings.pointers.as_ptr();
    let failed = |errno| {
        Err(Failure {
            step: Step::Exec,
            index: 0,
            errno,
        })
    };
    if let Some((_, init_args)) = &program.init {
        kernel::set_cloexec(REPORT_FD, false).at(Step::Exec)?;
        // SAFETY: both arrays end in null, and `program` keeps their strings alive.
        return failed(unsafe {
            kernel::execveat(INIT_FD, kernel::EMPTY, args(init_args), args(&program.env))
        });
    }
    failed(fault::exec(REPORT_FD, &program.candidates, &|path| {
        // SAFETY: as above.
        unsafe {
            kernel::execveat(
                libc::AT_FDCWD,
                path,
                args(&program.args),
                args(&program.env),
            )
        }
    }))
}
