//! What an image holds at a path, copied into a volume that is to lie over it.
//!
//! The image may be hostile, and so may a container that has the volume already: both sides go by
//! descriptors, no link is followed out of the image or the volume, and what is made in the volume
//! is described through its own descriptor. Folders wait in a list, so that depth costs no stack.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use crate::attributes::{copy_attributes, default_acl_of, modified, set_default_acl, timestamps};
use crate::holes;
use crate::lowers::{Found, Lowers, create, is_whiteout, kind, open_beneath, stat};

/// As many links as the kernel follows in one path.
const LINKS_MAX: usize = 40;

/// A folder as the layers of an image show it.
pub struct Content {
    lowers: Lowers,
    /// In the image, without links.
    path: PathBuf,
}

impl Content {
    /// The folder that the layers, the topmost first, have at an absolute path. Links in it lead as
    /// they would in a container. `None`: there is no folder, or it is the root.
    ///
    /// # Errors
    /// A layer cannot be read.
    pub fn find(layers: &[PathBuf], path: &str) -> io::Result<Option<Content>> {
        let lowers = Lowers::open(layers)?;
        let path = resolve(&lowers, Path::new(path))?;
        Ok(path.map(|path| Content { lowers, path }))
    }

    /// Copies it into a folder, with owners, modes, times, hard links and the extended attributes
    /// that images may have; the folder itself becomes like it. What has the same name there is
    /// replaced, so that a copy that was broken off can be repeated.
    ///
    /// # Errors
    /// A file could not be read or written; the text names it.
    pub fn copy_into(&self, folder: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let into = rustix::fs::open(folder, flags, Mode::empty())?;
        let copy = Copy {
            content: self,
            into,
            linked: BTreeMap::new(),
        };
        copy.run()
    }

    /// The folders that are merged at a path below it, the topmost first.
    fn folders(&self, below: &Path) -> io::Result<Vec<Rc<OwnedFd>>> {
        self.lowers.folders(&self.path.join(below))
    }
}

/// The folder's path without links, or nothing when there is no folder.
fn resolve(lowers: &Lowers, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut ahead: VecDeque<OsString> = path.iter().map(OsStr::to_os_string).collect();
    let mut found = Place::default();
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        match part.as_bytes() {
            b"/" => found.path.clear(),
            b"" | b"." => {}
            // The parent of the root is the root, as in a container.
            b".." => drop(found.path.pop()),
            _ => match lowers.find(&found.path.join(&part))? {
                Found::Folder(_) => found.path.push(&part),
                Found::Symlink(target) if links < LINKS_MAX => {
                    links += 1;
                    for part in Path::new(&target).iter().rev() {
                        ahead.push_front(part.to_os_string());
                    }
                }
                Found::Symlink(_) | Found::Other(..) | Found::Nothing => return Ok(None),
            },
        }
    }
    // The root as a whole is never what a volume covers.
    Ok(Some(found.path).filter(|path| !path.as_os_str().is_empty()))
}

/// A path below one tree: a key, opened only as a whole and beneath the tree's descriptor.
#[derive(Default)]
struct Place {
    path: PathBuf,
}

struct Copy<'a> {
    content: &'a Content,
    into: OwnedFd,
    /// Where a file with several names was put first, by device and inode.
    linked: BTreeMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn run(mut self) -> io::Result<()> {
        let mut ahead = vec![Place::default()];
        let mut filled = Vec::new();
        while let Some(folder) = ahead.pop() {
            self.fill(&folder, &mut ahead)?;
            filled.push(folder);
        }
        // Those within come later in the list, and each new file changes its folder's time.
        for folder in filled.iter().rev() {
            let like = self.content.folders(&folder.path)?;
            if let Some(like) = like.first() {
                let stat = rustix::fs::fstat(like)?;
                let copy = self.open(&folder.path)?;
                copy_attributes(like, &copy, &stat)?;
                if let Some(acl) = default_acl_of(like)? {
                    match set_default_acl(&copy, &acl) {
                        Ok(()) | Err(Errno::NOTSUP) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        match path.as_os_str().is_empty() {
            true => self.into.try_clone(),
            false => open_beneath(&self.into, path, OFlags::RDONLY | OFlags::DIRECTORY),
        }
    }

    fn fill(&mut self, folder: &Place, ahead: &mut Vec<Place>) -> io::Result<()> {
        let into = self.open(&folder.path)?;
        let mut seen = BTreeSet::new();
        for layer in self.content.folders(&folder.path)? {
            for entry in Dir::read_from(&layer)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
                // What a layer above has under the name, a whiteout too, hides it.
                if name == "." || name == ".." || !seen.insert(name.clone()) {
                    continue;
                }
                let place = Place {
                    path: folder.path.join(&name),
                };
                self.add(&layer, &into, &name, &place)
                    .map_err(|error| named(&place, error))?
                    .then(|| ahead.push(place));
            }
        }
        Ok(())
    }

    /// Copies one entry; `true` when it is a folder, whose content is still to be copied.
    fn add(
        &mut self,
        layer: &OwnedFd,
        into: &OwnedFd,
        name: &OsStr,
        place: &Place,
    ) -> io::Result<bool> {
        let Some(stat) = stat(layer, name)? else {
            return Ok(false);
        };
        if is_whiteout(&stat) {
            return Ok(false);
        }
        match kind(&stat) {
            FileType::Directory => {
                self.add_folder(into, name)?;
                return Ok(true);
            }
            FileType::RegularFile => self.add_file(layer, into, name, (place, &stat))?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(layer, name, Vec::new())?;
                replacing(into, name, || {
                    rustix::fs::symlinkat(target.as_c_str(), into, name)
                })?;
                own_and_date(into, name, &stat)?;
            }
            FileType::Fifo => add_fifo(into, name, &stat)?,
            // Unpacking leaves out everything else.
            _ => {}
        }
        Ok(false)
    }

    fn add_folder(&self, into: &OwnedFd, name: &OsStr) -> io::Result<()> {
        match rustix::fs::mkdirat(into, name, Mode::RWXU) {
            Err(Errno::EXIST) if stat(into, name)?.is_some_and(|s| is_folder(&s)) => Ok(()),
            Err(Errno::EXIST) => {
                replacing(into, name, || rustix::fs::mkdirat(into, name, Mode::RWXU))
            }
            made => Ok(made?),
        }
    }

    fn add_file(
        &mut self,
        layer: &OwnedFd,
        into: &OwnedFd,
        name: &OsStr,
        (place, stat): (&Place, &Stat),
    ) -> io::Result<()> {
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.linked.get(&key)
            && let Some(first_name) = first.file_name()
        {
            let from = self.open(first.parent().unwrap_or(Path::new("")))?;
            return replacing(into, name, || {
                rustix::fs::linkat(&from, first_name, into, name, AtFlags::empty())
            });
        }
        let mut source = File::from(open_beneath(layer, name, OFlags::RDONLY)?);
        let mut copy = File::from(replacing(into, name, || create(into, name))?);
        holes::copy(&mut source, &mut copy)?;
        copy_attributes(&source.into(), &copy.into(), stat)?;
        if stat.st_nlink > 1 {
            self.linked.insert(key, place.path.clone());
        }
        Ok(())
    }
}

fn add_fifo(into: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    replacing(into, name, || {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(into, name, FileType::Fifo, mode, 0)
    })?;
    own_and_date(into, name, stat)?;
    // Opened both ways it waits for nobody, and its mode is set where no link can lead elsewhere.
    let fifo = open_beneath(into, name, OFlags::RDWR | OFlags::NONBLOCK)?;
    if kind(&rustix::fs::fstat(&fifo)?) != FileType::Fifo {
        return Err(io::Error::other("it was replaced while it was copied"));
    }
    Ok(rustix::fs::fchmod(
        &fifo,
        Mode::from_raw_mode(stat.st_mode & 0o7777),
    )?)
}

fn own_and_date(into: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(into, name, Some(uid), Some(gid), flags)?;
    Ok(rustix::fs::utimensat(
        into,
        name,
        &timestamps(modified(stat)),
        flags,
    )?)
}

/// Runs `make`, after removing what has the name if there is anything.
fn replacing<T>(
    folder: &OwnedFd,
    name: &OsStr,
    make: impl Fn() -> rustix::io::Result<T>,
) -> io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            windlass_tree::remove_at(folder, name)?;
            Ok(make()?)
        }
        done => Ok(done?),
    }
}

fn is_folder(stat: &Stat) -> bool {
    kind(stat) == FileType::Directory
}

fn named(place: &Place, error: io::Error) -> io::Error {
    let name = place.path.as_os_str().as_bytes().escape_ascii();
    io::Error::new(error.kind(), format!("\"{name}\" of the image: {error}"))
}
