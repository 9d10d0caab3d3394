//! Process 1 of a container that asks for one: starts the program, passes signals on, reaps.
//!
//! It is this very program, run by descriptor from its sealed view with the container's privileges.
//! Descriptor 3 is the report socket: the program's failure to start goes through it as without an
//! init, and closing it says that the program runs.
//!
//! Without a program it is the process that holds a sandbox's namespaces: process 1 of all its
//! containers, which reaps what they leave and never ends by itself.

use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::report::{Failure, Step, fail};
use super::{fault, kernel};

/// The first argument that makes this program an init. No path, so that no file can be named so.
pub(super) const ROLE_NAME: &str = "windlass-init";

/// As execve takes it.
pub(super) const ROLE: &std::ffi::CStr = c"windlass-init";

const REPORT: RawFd = super::program::REPORT_FD;

/// Whether this program was started as an init: its argument 0 says so.
pub fn is_init(arg0: &OsString) -> bool {
    arg0.as_bytes() == ROLE_NAME.as_bytes()
}

/// The init. `args` are the program's own: its command first. `path` is the PATH of the container's
/// environment, which is this process's own.
pub fn init_main(args: impl IntoIterator<Item = OsString>, path: Option<OsString>) -> ! {
    let args: Vec<CString> = args
        .into_iter()
        .filter_map(|arg| CString::new(arg.into_vec()).ok())
        .collect();
    // Run by hand, there is no report socket and nothing to do.
    if kernel::file_type(REPORT) != Ok(libc::S_IFSOCK) {
        eprintln!("windlass-init is started by windlass inside a container only");
        kernel::exit(125);
    }
    let _ = kernel::set_cloexec(REPORT, true);
    // Orphans come to this process even where it is not process 1.
    let _ = kernel::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    if args.is_empty() {
        hold();
    }
    let candidates = candidates(&args[0], &path.unwrap_or_default());
    // Blocked signals wait until they are asked for, so none is lost before the program exists.
    let _ = kernel::set_signal_mask(!0);
    match kernel::fork() {
        Ok(0) => run(&candidates, &args),
        Ok(program) => {
            kernel::close(REPORT);
            serve(program)
        }
        Err(errno) => fail(REPORT, exec_failure(errno)),
    }
}

fn exec_failure(errno: i32) -> Failure {
    Failure {
        step: Step::Exec,
        index: 0,
        errno,
    }
}

fn candidates(command: &CString, path: &OsString) -> Vec<CString> {
    if command.is_empty() {
        return Vec::new();
    }
    if command.as_bytes().contains(&b'/') {
        return vec![command.clone()];
    }
    path.as_bytes()
        .split(|b| *b == b':')
        .map(|folder| if folder.is_empty() { b"." } else { folder })
        .filter_map(|folder| CString::new([folder, b"/", command.as_bytes()].concat()).ok())
        .collect()
}

fn run(candidates: &[CString], args: &[CString]) -> ! {
    // A group of its own in the foreground: keys of the terminal then reach the program once, not a
    // second time through process 1. Without a terminal there is nothing to take.
    kernel::lead_foreground();
    kernel::reset_signals();
    let _ = kernel::set_signal_mask(0);
    let argv: Vec<_> = args
        .iter()
        .map(|arg| arg.as_ptr())
        .chain([std::ptr::null()])
        .collect();
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let errno = fault::exec(REPORT, candidates, &|path| {
        // SAFETY: `argv` ends in null, its strings live until the process is replaced; nothing
        // changes the environment of this single thread.
        unsafe { kernel::execveat(libc::AT_FDCWD, path, argv.as_ptr(), environ) }
    });
    fail(REPORT, exec_failure(errno))
}

/// Nobody's program runs in here, and the containers see it: none may trace it or open what it has
/// open, whatever else it may do to processes of its own user.
fn hold() -> ! {
    let _ = kernel::prctl(libc::PR_SET_DUMPABLE, 0);
    let _ = kernel::set_signal_mask(!0);
    kernel::close(REPORT);
    loop {
        if kernel::wait_signal() == Ok(libc::SIGCHLD) {
            while kernel::reap_any().is_some() {}
        }
    }
}

/// Passes signals on and reaps until the program ends; its end is this process's.
fn serve(program: i32) -> ! {
    loop {
        let signal = kernel::wait_signal();
        if signal != Ok(libc::SIGCHLD) {
            if let Ok(signal) = signal {
                let _ = kernel::kill(program, signal);
            }
            continue;
        }
        while let Some((pid, status)) = kernel::reap_any() {
            if pid == program {
                let code = if libc::WIFEXITED(status) {
                    libc::WEXITSTATUS(status)
                } else {
                    128 + libc::WTERMSIG(status)
                };
                kernel::exit(code);
            }
        }
    }
}
