//! A walk along a path of the host, each folder on the way held open.

use rustix::fs::{FileType, Mode, OFlags, fstat, mkdirat, open, openat, readlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// As the kernel's own limit.
const LINKS_MAX: u32 = 40;
const UP: &str = "..";

#[derive(Debug)]
pub(super) enum Fault {
    /// It may not be followed.
    Link {
        link: PathBuf,
        target: PathBuf,
    },
    Kernel(Errno),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Fault {
        Fault::Kernel(errno)
    }
}

pub(super) struct Walk {
    root: OwnedFd,
    /// Below the root, to where it is.
    folders: Vec<(OwnedFd, PathBuf)>,
    /// Names to go, the next one last.
    left: Vec<OsString>,
    links: u32,
}

impl Walk {
    pub(super) fn begin(path: &Path) -> Result<Walk, Fault> {
        let root = open("/", PLACE | OFlags::DIRECTORY, Mode::empty())?;
        let mut walk = Walk {
            root,
            folders: Vec::new(),
            left: Vec::new(),
            links: 0,
        };
        walk.push(path);
        Ok(walk)
    }

    /// To the end of the path, which is answered without links; `None` when something is missing.
    /// `trusted` says of a folder that no container can have made a link in it.
    pub(super) fn go(&mut self, trusted: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>, Fault> {
        while let Some(name) = self.left.pop() {
            if name == UP {
                // Back to the folder it came through; the root's parent is the root.
                self.folders.pop();
                continue;
            }
            let (folder, at) = self.here();
            let path = at.join(&name);
            let place = match openat(folder, &name, PLACE | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::NOENT) => {
                    self.left.push(name);
                    return Ok(None);
                }
                place => place?,
            };
            match FileType::from_raw_mode(fstat(&place)?.st_mode) {
                FileType::Symlink => self.follow(&place, path, trusted)?,
                FileType::Directory => self.folders.push((place, path)),
                _ if self.left.is_empty() => return Ok(Some(path)),
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Ok(Some(self.here().1.to_owned()))
    }

    /// The path of what is missing.
    pub(super) fn missing(&self) -> PathBuf {
        let (_, at) = self.here();
        self.left
            .iter()
            .rev()
            .fold(at.to_owned(), |path, name| path.join(name))
    }

    /// Makes what is missing, and answers its path. A container may share one of these folders: each
    /// is opened where it was made, and a link that came in its place is not followed.
    pub(super) fn make(mut self) -> Result<PathBuf, Fault> {
        if self.left.iter().any(|name| name == UP) {
            return Err(Errno::NOENT.into());
        }
        while let Some(name) = self.left.pop() {
            let (folder, at) = self.here();
            match mkdirat(folder, &name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let flags = PLACE | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let made = (openat(folder, &name, flags, Mode::empty())?, at.join(&name));
            self.folders.push(made);
        }
        Ok(self.here().1.to_owned())
    }

    fn follow(
        &mut self,
        place: &OwnedFd,
        link: PathBuf,
        trusted: &dyn Fn(&Path) -> bool,
    ) -> Result<(), Fault> {
        let text = readlinkat(place, "", Vec::new())?;
        let target = PathBuf::from(OsStr::from_bytes(text.as_bytes()));
        // Whoever may make a link in a folder may also move there what lies below it.
        let goes_down = target
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !goes_down && !trusted(self.here().1) {
            return Err(Fault::Link { link, target });
        }
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::LOOP.into());
        }
        if target.is_absolute() {
            self.folders.clear();
        }
        self.push(&target);
        Ok(())
    }

    fn push(&mut self, path: &Path) {
        let names = path.components().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(UP.into()),
            _ => None,
        });
        self.left.extend(names);
    }

    fn here(&self) -> (&OwnedFd, &Path) {
        let last = self.folders.last();
        last.map_or((&self.root, Path::new("/")), |(folder, path)| {
            (folder, path)
        })
    }
}

const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
