//! Runs this program from a read-only view of its own file.
//!
//! Inside a container, /proc/1/exe of an init, or an interpreter line that names /proc/self/exe,
//! leads to the file of the program that started it. The kernel refuses to write a running program,
//! but not to change its mode, and only while it runs. Through a read-only mount all of that fails.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use super::kernel::{self, ATTR_RDONLY};
use super::{OrFailed, StartError, failed, owned};

/// Most arguments.
const ARGS_MAX: usize = 1024;

/// Replaces this process by itself, run with `args` (the program's name first) from a sealed view.
/// Returns when it already is; call it first thing, before threads and descriptors exist.
pub fn seal_self(args: &[&CStr]) -> Result<(), StartError> {
    if is_sealed(&own_executable()?)? {
        return Ok(());
    }
    if args.is_empty() || args.len() > ARGS_MAX {
        return Err(failed("seal", libc::E2BIG, "arguments"));
    }
    let what = || "/proc/self/exe".to_owned();
    let view = kernel::open_tree(libc::AT_FDCWD, c"/proc/self/exe", false)
        .map(owned)
        .or_failed("seal", what)?;
    kernel::mount_setattr(view.as_raw_fd(), ATTR_RDONLY, libc::MS_PRIVATE, false)
        .or_failed("seal", what)?;
    let argv: Vec<_> = args
        .iter()
        .map(|arg| arg.as_ptr())
        .chain([std::ptr::null()])
        .collect();
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: `argv` ends in null and its strings are borrowed for the call; the environment is the
    // C library's own, and nothing changes it while this single thread is here.
    let errno =
        unsafe { kernel::execveat(view.as_raw_fd(), kernel::EMPTY, argv.as_ptr(), environ) };
    Err(failed("seal", errno, what()))
}

/// This process's program, sealed.
pub(super) fn sealed_executable() -> Result<OwnedFd, StartError> {
    let executable = own_executable()?;
    if !is_sealed(&executable)? {
        return Err(failed(
            "seal",
            libc::EPERM,
            "the program runs from a writable mount; a container could reach its file",
        ));
    }
    Ok(executable)
}

fn own_executable() -> Result<OwnedFd, StartError> {
    kernel::open(c"/proc/self/exe", libc::O_PATH)
        .map(owned)
        .or_failed("seal", || "/proc/self/exe".into())
}

fn is_sealed(executable: &OwnedFd) -> Result<bool, StartError> {
    kernel::on_readonly_mount(executable.as_raw_fd()).or_failed("seal", || "/proc/self/exe".into())
}
