//! What Docker's oldest storage driver left in layers: files of its own at the root, and hard links
//! to them.
//!
//! AUFS kept a file with several names under `.wh..wh.plnk/`, and a layer that was saved from it
//! holds hard links to that place. Such a file is kept without a name until a link asks for it; all
//! the rest of the metadata is passed over.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::{Folder, Tree, refused};
use crate::entries::{Entry, Kind};

/// Files that are kept for links at once; each is an open descriptor.
const PLINKS_MAX: usize = 100;

/// Files without a name yet, by the last part of the one that AUFS gave them.
#[derive(Default)]
pub(super) struct Plinks {
    files: BTreeMap<OsString, OwnedFd>,
}

/// Whether a path is one of AUFS's own. An opaque mark begins alike, and is no metadata.
pub(super) fn is_metadata(path: &Path) -> bool {
    let first = path.iter().next().unwrap_or_default().as_bytes();
    first.starts_with(b".wh..wh.") && path != Path::new(".wh..wh..opq")
}

impl Tree {
    pub(super) fn add_aufs_metadata(
        &mut self,
        path: &Path,
        entry: &Entry,
        content: &mut impl Read,
    ) -> io::Result<()> {
        let is_plink = path.parent() == Some(Path::new(".wh..wh.plnk"));
        let Some(name) = path.file_name().filter(|_| is_plink) else {
            return Ok(());
        };
        if entry.kind != Kind::File {
            return Ok(());
        }
        if self.plinks.files.len() >= PLINKS_MAX {
            return Err(refused("too many files that AUFS kept for hard links"));
        }
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*self.root, ".", flags, Mode::RUSR | Mode::WUSR)?;
        let fd = self.fill(fd, entry, content)?;
        self.plinks.files.insert(name.to_os_string(), fd);
        Ok(())
    }

    pub(super) fn add_plink(
        &mut self,
        folder: &Folder,
        name: &OsStr,
        target: &OsStr,
    ) -> io::Result<()> {
        let kept = self.plinks.files.get(target);
        let kept = kept.ok_or_else(|| refused("a hard link to what AUFS did not keep"))?;
        let kept = kept.try_clone()?;
        self.replacing(&folder.fd, name, || {
            rustix::fs::linkat(&kept, "", &*folder.fd, name, AtFlags::EMPTY_PATH)
        })
    }
}
