//! Small files in the shim's folder, one per container, so that what a shim knew is not all lost
//! when it dies. The folder lies on tmpfs: the files are for a killed process, not for a reboot.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
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
    let file = rustix::fs::openat(folder, &draft, flags, Mode::RUSR | Mode::WUSR)?;
    if rustix::io::write(&file, &bytes)? != bytes.len() {
        return Err(Errno::NOSPC);
    }
    rustix::fs::renameat(folder, &draft, folder, format!("{PREFIX}{slot}"))
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
