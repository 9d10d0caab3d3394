//! Opening and listing single folders of a tree.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens what lies under a name. The kernel refuses links and other file systems, so that even a
/// wrong name cannot lead outside.
pub(crate) fn open_at(folder: impl AsFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve)
}

/// Opens a folder's direct child folder, as [`open_at`].
pub(crate) fn open_folder(folder: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    open_at(folder, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// The names in a folder, without the two that every folder has.
pub(crate) fn names(
    folder: BorrowedFd<'_>,
) -> Result<impl Iterator<Item = Result<OsString, Errno>> + use<>, Errno> {
    let entries = Dir::read_from(folder)?
        .map(|entry| entry.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned()));
    Ok(entries.filter(|name| !matches!(name, Ok(name) if name == "." || name == "..")))
}
