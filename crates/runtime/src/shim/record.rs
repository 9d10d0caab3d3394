//! Small files in the shim's folder, one per container, so that what a shim knew is not all lost
//! when it dies. The folder lies on tmpfs: the files are for a killed process, not for a reboot.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::state::{ContainerState, Status};

const PREFIX: &str = "container-";
/// A record is a name and a few numbers.
const BYTES_MAX: u64 = 4096;

/// Replaces the container's record, whole or not at all.
pub(crate) fn write(
    folder: BorrowedFd<'_>,
    slot: u32,
    state: &ContainerState,
) -> Result<(), Errno> {
    let bytes = minicbor::to_vec(state).map_err(|_| Errno::INVAL)?;
    let draft = format!(".{PREFIX}{slot}");
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = format!("{PREFIX}{slot}");
    let written = rustix::fs::openat(folder, &draft, flags, Mode::RUSR | Mode::WUSR)
        .and_then(|file| write_whole(&file, &bytes));
    match written {
        Ok(()) => rustix::fs::renameat(folder, &draft, folder, name),
        Err(errno) => {
            let _ = rustix::fs::unlinkat(folder, &draft, AtFlags::empty());
            // The record of the start has a page, which needs no room. A longer one would destroy it.
            if bytes.len() as u64 > BYTES_MAX {
                return Err(errno);
            }
            let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(folder, name, flags, Mode::empty())
                .and_then(|file| write_whole(&file, &bytes))
                .map_err(|_| errno)
        }
    }
}

fn write_whole(file: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    match rustix::io::write(file, bytes)? {
        count if count == bytes.len() => Ok(()),
        _ => Err(Errno::NOSPC),
    }
}

/// What a shim's folder says, by name. Files that say nothing readable are left out: the rest
/// is worth more than an error.
pub(crate) fn read_all(folder: &Path) -> Vec<ContainerState> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut states: Vec<ContainerState> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|m| m.is_file() && m.len() <= BYTES_MAX)
        })
        .filter_map(|entry| minicbor::decode(&std::fs::read(entry.path()).ok()?).ok())
        .collect();
    states.sort_by(|a, b| a.name.cmp(&b.name));
    states
}

/// The same of a dead shim's folder: nobody knows how what ran then has ended.
pub(crate) fn read_lost(folder: &Path) -> Vec<ContainerState> {
    let mut states = read_all(folder);
    for state in states
        .iter_mut()
        .filter(|state| state.status != Status::Exited)
    {
        state.status = Status::Lost;
    }
    states
}
