//! Mounts of a running container for another that shares its namespaces: /proc, which shows the
//! process ids of its own namespace only, and /dev/shm.
//!
//! A copy of a mount can only be taken inside its mount namespace, so a short-lived process joins
//! that one, and no other: it stays in the host's process id namespace, where the container cannot
//! see it.

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::kernel::{self, Sys};
use super::path::{self, Kind, Links};
use super::{OrFailed, StartError, owned};

/// Inode of a proc file system's root.
const PROC_ROOT: u64 = 1;

/// A detached copy of the container's /proc.
pub(super) fn proc(target: &OwnedFd) -> Result<OwnedFd, StartError> {
    fetch(target, c"/proc", |place| {
        kernel::fs_magic(place) == Ok(kernel::PROC_MAGIC)
            && kernel::fstat(place).map(|stat| stat.st_ino) == Ok(PROC_ROOT)
    })
}

/// A detached copy of the container's /dev/shm.
pub(super) fn shm(target: &OwnedFd) -> Result<OwnedFd, StartError> {
    fetch(target, c"/dev/shm", |place| {
        kernel::fs_magic(place) == Ok(kernel::TMPFS_MAGIC)
    })
}

fn fetch(
    target: &OwnedFd,
    path: &CStr,
    is_right: fn(RawFd) -> bool,
) -> Result<OwnedFd, StartError> {
    let what = || format!("{} of the container to share", path.to_string_lossy());
    let [ours, theirs] = kernel::socketpair(libc::SOCK_SEQPACKET).or_failed("namespaces", what)?;
    let (ours, theirs) = (owned(ours), owned(theirs));
    let spawned = kernel::spawn(0, None, &|| {
        lend(target.as_raw_fd(), path, is_right, theirs.as_raw_fd())
    });
    drop(theirs);
    let (_, pidfd) = spawned.or_failed("namespaces", what)?;
    let (mut bytes, mut fds) = ([0u8; 4], [-1; kernel::MESSAGE_FDS_MAX]);
    let heard = kernel::receive(ours.as_raw_fd(), &mut bytes, &mut fds);
    kernel::reap(pidfd);
    kernel::close(pidfd);
    match heard {
        Ok((4, 1)) => Ok(owned(fds[0])),
        Ok((4, _)) => Err(i32::from_le_bytes(bytes)),
        Ok(_) => Err(libc::EIO),
        Err(errno) => Err(errno),
    }
    .or_failed("namespaces", what)
}

fn lend(target: RawFd, path: &CStr, is_right: fn(RawFd) -> bool, socket: RawFd) -> Infallible {
    let copy = (|| -> Sys<RawFd> {
        kernel::setns(target, libc::CLONE_NEWNS)?;
        let root = kernel::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
        let place = path::open_existing(root, path, Kind::Folder, Links::Refuse)?;
        if !is_right(place) {
            return Err(libc::EXDEV);
        }
        kernel::open_tree(place, kernel::EMPTY, false)
    })();
    let _ = match copy {
        Ok(copy) => kernel::send(socket, &[0; 4], &[copy]),
        Err(errno) => kernel::send(socket, &errno.to_le_bytes(), &[]),
    };
    kernel::exit(0)
}
