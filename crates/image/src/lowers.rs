//! What the layers below a layer show at a path, by overlayfs's rules.
//!
//! A layer speaks of a tree of which it holds only the changes. Where it names `bin/x` and a lower
//! layer has `bin` as a link to `usr/bin`, the file belongs into `usr/bin`; where it leaves out a
//! parent folder, the lower one's owner and mode stay. Both need this view.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// Folders of the layers below, the topmost first.
pub(crate) struct Lowers {
    roots: Vec<Rc<OwnedFd>>,
}

/// What is seen at a path.
pub(crate) enum Found {
    Nothing,
    /// The topmost of the folders that are merged there.
    Folder(Rc<OwnedFd>),
    Symlink(OsString),
    /// Anything else: the folder it lies in, and what it is.
    Other(Rc<OwnedFd>, Box<Stat>),
}

impl Lowers {
    pub(crate) fn open(folders: &[PathBuf]) -> io::Result<Self> {
        let open = |folder: &PathBuf| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(Rc::new(rustix::fs::open(folder, flags, Mode::empty())?))
        };
        Ok(Self {
            roots: folders.iter().map(open).collect::<io::Result<_>>()?,
        })
    }

    pub(crate) fn top(&self) -> Option<&Rc<OwnedFd>> {
        self.roots.first()
    }

    /// Looks up a path that holds no links except as its last part.
    pub(crate) fn find(&self, path: &Path) -> io::Result<Found> {
        Ok(match self.walk(path)? {
            Ok(merged) => merged
                .into_iter()
                .next()
                .map_or(Found::Nothing, Found::Folder),
            Err(other) => other,
        })
    }

    /// All folders that are merged at a path, the topmost first; none when it is no folder.
    pub(crate) fn folders(&self, path: &Path) -> io::Result<Vec<Rc<OwnedFd>>> {
        Ok(self.walk(path)?.unwrap_or_default())
    }

    /// The merged folders, or what else is there.
    fn walk(&self, path: &Path) -> io::Result<Result<Vec<Rc<OwnedFd>>, Found>> {
        let mut merged = self.roots.clone();
        let mut parts = path.iter().peekable();
        while let Some(part) = parts.next() {
            let mut next = Vec::new();
            for folder in &merged {
                let Some(stat) = stat(folder, part)? else {
                    continue;
                };
                if kind(&stat) == FileType::Directory {
                    let fd = Rc::new(open_folder(folder, part)?);
                    let hides = is_opaque(&fd);
                    next.push(fd);
                    if hides {
                        break;
                    }
                } else if next.is_empty() {
                    return Ok(Err(match parts.peek() {
                        None => other(folder, part, stat)?,
                        Some(_) => Found::Nothing,
                    }));
                } else {
                    break;
                }
            }
            merged = next;
        }
        Ok(Ok(merged))
    }
}

fn other(folder: &Rc<OwnedFd>, name: &OsStr, stat: Stat) -> io::Result<Found> {
    Ok(match kind(&stat) {
        _ if is_whiteout(&stat) => Found::Nothing,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
            Found::Symlink(OsString::from_vec(target.into_bytes()))
        }
        _ => Found::Other(folder.clone(), Box::new(stat)),
    })
}

/// What lies under a name in a folder; a link is not followed.
pub(crate) fn stat(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Opens a folder's direct child folder. The kernel refuses links and other file systems, so that
/// even a wrong name cannot lead outside.
pub(crate) fn open_folder(folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    open_beneath(folder, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

pub(crate) fn open_beneath(
    folder: &OwnedFd,
    path: impl rustix::path::Arg,
    flags: OFlags,
) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat2(
        folder,
        path,
        flags,
        Mode::empty(),
        resolve,
    )?)
}

/// Makes a file that was not there.
pub(crate) fn create(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)
}

fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0u8; 4];
    matches!(rustix::fs::fgetxattr(folder, OPAQUE, &mut value), Ok(1) if value[0] == b'y')
}
