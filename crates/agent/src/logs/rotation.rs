//! The files of one log, which the shim renames while they are read: `NAME` to `NAME.1` and so on,
//! the oldest first. A file that is held open keeps its inode, by which it is found again.

use super::open_no_link;
use crate::limits::LOG_FILES_MAX;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Renames that may come between a look at the folder and an open.
const RACES_MAX: u32 = 100;

/// An open file of a log.
pub(super) struct Opened {
    pub(super) inode: u64,
    pub(super) file: File,
    /// No file between it and the one it was asked for by is known to be gone.
    pub(super) is_next: bool,
}

/// The files that are there, the newest first. In the midst of a rotation one may be missing.
pub(super) fn files(path: &Path) -> Vec<(PathBuf, u64)> {
    let names = (0..LOG_FILES_MAX).map(|number| numbered(path, number));
    names
        .filter_map(|name| {
            let inode = fs::symlink_metadata(&name).ok()?.ino();
            Some((name, inode))
        })
        .collect()
}

/// Bytes of all files.
pub(super) fn bytes(path: &Path) -> u64 {
    let length = |(name, _): &(PathBuf, u64)| fs::symlink_metadata(name).map_or(0, |it| it.len());
    files(path).iter().map(length).sum()
}

pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if number > 0 {
        name.push(format!(".{number}"));
    }
    PathBuf::from(name)
}

/// Opens the file that `choose` takes of those that are there; nothing when it takes none.
fn open(
    path: &Path,
    after: Option<u64>,
    choose: impl Fn(&[(PathBuf, u64)]) -> Option<(PathBuf, u64)>,
) -> io::Result<Option<Opened>> {
    for _ in 0..RACES_MAX {
        let files = files(path);
        let is_next = after.is_none_or(|inode| position(&files, inode).is_some());
        let Some((name, inode)) = choose(&files) else {
            return Ok(None);
        };
        let file = match open_no_link(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        // Renamed in between, the name leads to another.
        if file.metadata()?.ino() == inode {
            return Ok(Some(Opened {
                inode,
                file,
                is_next,
            }));
        }
    }
    Err(io::Error::other("its files change all the time"))
}

pub(super) fn oldest(path: &Path) -> io::Result<Option<Opened>> {
    open(path, None, |files| files.last().cloned())
}

pub(super) fn newest(path: &Path) -> io::Result<Option<Opened>> {
    open(path, None, |files| files.first().cloned())
}

/// The one that was written after `inode`. When that was removed, all that is left is newer.
pub(super) fn newer(path: &Path, inode: u64) -> io::Result<Option<Opened>> {
    // Followed logs are asked this all the time, and mostly nothing has changed.
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.ino() == inode) {
        return Ok(None);
    }
    open(path, Some(inode), |files| match position(files, inode) {
        Some(at) => files.get(at.checked_sub(1)?).cloned(),
        None => files.last().cloned(),
    })
}

/// The one that was written before `inode`.
pub(super) fn older(path: &Path, inode: u64) -> io::Result<Option<Opened>> {
    open(path, None, |files| {
        files
            .get(position(files, inode)?.saturating_add(1))
            .cloned()
    })
}

fn position(files: &[(PathBuf, u64)], inode: u64) -> Option<usize> {
    files.iter().position(|(_, other)| *other == inode)
}
