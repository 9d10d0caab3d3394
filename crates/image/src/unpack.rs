//! Unpacks one layer into a folder that overlayfs takes as a lower folder.
//!
//! The layer may be hostile, so nothing in it is ever joined to a path of this machine. A name is
//! walked part by part from the folder's descriptor; links on the way, also those that lower layers
//! hold, are followed by hand inside the tree, and the kernel is asked to refuse any that is left.
//! The last part of a name is never followed: what was there is replaced.
//!
//! A whiteout becomes overlayfs's character device 0/0 and an opaque mark its extended attribute.
//! Neither acts on what the same layer holds. Device nodes are left out, because a container's /dev
//! is made by the runtime; of the extended attributes only file capabilities and `user.` ones stay.
//!
//! Elsewhere: reading entries (`entries`), decompression and digest (`inflate`), durability and the
//! mark that says a layer is whole (`store`).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec};
use rustix::io::Errno;

use crate::attributes::{
    Notices, copy_attributes, describe, make_opaque, modified, owner, time, timestamps,
};
use crate::entries::{Entries, Entry, Kind};
use crate::error::Error;
use crate::inflate::{Plain, with_plain};
use crate::limits::Limits;
use crate::lowers::{Found, Lowers, create, is_whiteout, kind, open_beneath, open_folder, stat};
use crate::watch;

/// As many links as the kernel follows in one path.
const LINKS_MAX: usize = 40;

/// What one image may still use; shared by its layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

impl Budget {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            bytes: limits.image_bytes,
            entries: limits.image_entries,
        }
    }
}

/// What was unpacked.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) plain: Plain,
    pub(crate) entries: u64,
    /// What was left out, for the operator; control characters are escaped.
    pub(crate) notices: Vec<String>,
}

/// Unpacks `source` into `folder`, which must be empty. `lowers` are the folders of the layers
/// below, the topmost first. The caller compares the digest and removes the folder on an error.
pub(crate) fn unpack(
    layer: &str,
    source: impl Read + Send,
    folder: &Path,
    lowers: &[PathBuf],
    limits: &Limits,
    budget: &mut Budget,
) -> Result<Unpacked, Error> {
    let entries_max = budget.entries;
    let unpacked = with_plain(source, limits, budget.bytes, |plain| {
        let mut tree = Tree::open(folder, lowers)?;
        let mut entries = Entries::new(plain, limits);
        let mut count = 0;
        while let Some(entry) = entries.next()? {
            watch::go_on().map_err(io::Error::other)?;
            count += 1;
            if count > entries_max {
                let what = "the number of files".to_string();
                return Err(io::Error::other(Error::Limit {
                    what,
                    limit: limits.image_entries,
                }));
            }
            tree.add(&entry, &mut entries)
                .map_err(|e| named(&entry.path, e))?;
        }
        entries.finish()?;
        tree.set_folder_times()?;
        Ok((count, tree.notices.finish()))
    });
    let ((entries, notices), plain) = unpacked.map_err(|e| told(layer, e))?;
    budget.bytes = budget.bytes.saturating_sub(plain.bytes);
    budget.entries = budget.entries.saturating_sub(entries);
    Ok(Unpacked {
        plain,
        entries,
        notices,
    })
}

/// Puts an entry's name before an error, unless the error already is one for the user.
fn named(path: &[u8], error: io::Error) -> io::Error {
    match error.get_ref() {
        Some(inner) if inner.is::<Error>() => error,
        _ => io::Error::new(
            error.kind(),
            format!("\"{}\": {error}", path.escape_ascii()),
        ),
    }
}

fn told(layer: &str, error: io::Error) -> Error {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        Some(inner) => inner.clone(),
        None => Error::Layer {
            layer: layer.to_string(),
            reason: error.to_string(),
        },
    }
}

/// The folder that is filled.
struct Tree {
    root: Rc<OwnedFd>,
    lowers: Lowers,
    /// The folder of the last entry: archives list a folder's files together.
    last: Option<(PathBuf, Folder)>,
    /// Set at the end, because every new file changes its folder's time.
    folder_times: Vec<(PathBuf, Timespec)>,
    notices: Notices,
}

/// An open folder of the tree and its path without links.
#[derive(Clone)]
struct Folder {
    fd: Rc<OwnedFd>,
    path: PathBuf,
}

impl Tree {
    fn open(folder: &Path, lowers: &[PathBuf]) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = Rc::new(rustix::fs::open(folder, flags, Mode::empty())?);
        let lowers = Lowers::open(lowers)?;
        let mut tree = Self {
            root,
            lowers,
            last: None,
            folder_times: Vec::new(),
            notices: Notices::default(),
        };
        // The merged root shows the topmost layer's attributes; a layer without an entry for the
        // root must not change them.
        match tree.lowers.top().cloned() {
            Some(lower) => tree.like(&tree.root.clone(), Path::new(""), &lower)?,
            None => rustix::fs::fchmod(&*tree.root, Mode::from_raw_mode(0o755))?,
        }
        Ok(tree)
    }

    fn add(&mut self, entry: &Entry, content: &mut impl Read) -> io::Result<()> {
        let path = cleaned(&entry.path)?;
        let Some(name) = path.file_name() else {
            return self.add_root(entry);
        };
        let folder = self.enter(path.parent().unwrap_or(Path::new("")))?;
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            return self.add_whiteout(&folder, OsStr::from_bytes(hidden));
        }
        match entry.kind {
            Kind::Folder => self.add_folder(&folder, name, entry),
            Kind::File => self.add_file(&folder, name, entry, content),
            Kind::Symlink => self.add_symlink(&folder, name, entry),
            Kind::HardLink => self.add_hard_link(&folder, name, entry),
            Kind::Fifo => self.add_fifo(&folder, name, entry),
            Kind::Device => {
                self.notices
                    .add(|| format!("device node \"{}\" was left out", entry.path.escape_ascii()));
                Ok(())
            }
        }
    }

    fn add_root(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind != Kind::Folder {
            return Err(refused("only a folder can be the root"));
        }
        let root = self.root.clone();
        describe(&root, entry, &mut self.notices)?;
        self.folder_times.push((PathBuf::new(), time(entry)));
        Ok(())
    }

    fn add_whiteout(&mut self, folder: &Folder, hidden: &OsStr) -> io::Result<()> {
        let bytes = hidden.as_bytes();
        if bytes == b".wh..opq" {
            // Without anything below there is nothing to hide.
            return match self.lowers.top() {
                Some(_) => make_opaque(&folder.fd),
                None => Ok(()),
            };
        }
        if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.starts_with(b".wh.") {
            return Err(refused("not a valid whiteout"));
        }
        match stat(&folder.fd, hidden)? {
            Some(stat) if kind(&stat) == FileType::Directory => {
                make_opaque(&open_folder(&folder.fd, hidden)?)
            }
            Some(_) => Ok(()),
            None => match self.lowers.find(&folder.path.join(hidden))? {
                Found::Nothing => Ok(()),
                _ => whiteout(folder, hidden),
            },
        }
    }

    fn add_folder(&mut self, folder: &Folder, name: &OsStr, entry: &Entry) -> io::Result<()> {
        match stat(&folder.fd, name)? {
            Some(stat) if kind(&stat) == FileType::Directory => {}
            Some(_) => {
                // What this layer had here first took the place of the lower folder, so that
                // the lower content must not come back.
                self.remove(&folder.fd, name)?;
                rustix::fs::mkdirat(&*folder.fd, name, Mode::RWXU)?;
                make_opaque(&open_folder(&folder.fd, name)?)?;
            }
            None => rustix::fs::mkdirat(&*folder.fd, name, Mode::RWXU)?,
        }
        describe(&open_folder(&folder.fd, name)?, entry, &mut self.notices)?;
        self.folder_times
            .push((folder.path.join(name), time(entry)));
        Ok(())
    }

    fn add_file(
        &mut self,
        folder: &Folder,
        name: &OsStr,
        entry: &Entry,
        content: &mut impl Read,
    ) -> io::Result<()> {
        let fd = self.replacing(&folder.fd, name, || create(&folder.fd, name))?;
        let mut file = File::from(fd);
        let written = io::copy(content, &mut file)?;
        if written != entry.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fd = OwnedFd::from(file);
        describe(&fd, entry, &mut self.notices)?;
        rustix::fs::futimens(&fd, &timestamps(time(entry)))?;
        Ok(())
    }

    fn add_symlink(&mut self, folder: &Folder, name: &OsStr, entry: &Entry) -> io::Result<()> {
        if entry.link.is_empty() {
            return Err(refused("a link without a target"));
        }
        let target = OsStr::from_bytes(&entry.link);
        self.replacing(&folder.fd, name, || {
            rustix::fs::symlinkat(target, &*folder.fd, name)
        })?;
        self.own_and_date(folder, name, entry)
    }

    fn add_fifo(&mut self, folder: &Folder, name: &OsStr, entry: &Entry) -> io::Result<()> {
        self.replacing(&folder.fd, name, || {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(&*folder.fd, name, FileType::Fifo, mode, 0)
        })?;
        self.own_and_date(folder, name, entry)?;
        // It was just made here and is no link, so that following it leads nowhere else.
        let mode = Mode::from_raw_mode(entry.mode);
        Ok(rustix::fs::chmodat(
            &*folder.fd,
            name,
            mode,
            AtFlags::empty(),
        )?)
    }

    fn own_and_date(&self, folder: &Folder, name: &OsStr, entry: &Entry) -> io::Result<()> {
        let (uid, gid) = owner(entry);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&*folder.fd, name, Some(uid), Some(gid), flags)?;
        rustix::fs::utimensat(&*folder.fd, name, &timestamps(time(entry)), flags)?;
        Ok(())
    }

    fn add_hard_link(&mut self, folder: &Folder, name: &OsStr, entry: &Entry) -> io::Result<()> {
        let target = cleaned(&entry.link)?;
        let Some(target_name) = target.file_name() else {
            return Err(refused("a hard link to the root"));
        };
        let from = self.enter(target.parent().unwrap_or(Path::new("")))?;
        if from.path == folder.path && target_name == name {
            return Err(refused("a hard link to itself"));
        }
        match stat(&from.fd, target_name)? {
            Some(stat) if is_whiteout(&stat) => return Err(refused("its target was removed")),
            Some(stat) if kind(&stat) == FileType::Directory => {
                return Err(refused("a hard link to a folder"));
            }
            Some(_) => {}
            None => self.copy_up(&from, target_name)?,
        }
        self.replacing(&folder.fd, name, || {
            rustix::fs::linkat(&*from.fd, target_name, &*folder.fd, name, AtFlags::empty())
        })
    }

    /// Takes a lower layer's file into this one, as overlayfs does before it links it.
    fn copy_up(&mut self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        match self.lowers.find(&folder.path.join(name))? {
            Found::Other(lower, stat) if kind(&stat) == FileType::RegularFile => {
                let mut source = File::from(open_beneath(&lower, name, OFlags::RDONLY)?);
                let mut copy = File::from(create(&folder.fd, name)?);
                io::copy(&mut source, &mut copy)?;
                copy_attributes(&source.into(), &copy.into(), &stat)
            }
            _ => Err(refused("a hard link to a file that no layer has")),
        }
    }

    /// Opens a folder of the tree, following links inside the tree. Parents that the layer did not
    /// name are made, like the lower layer's if it has them.
    fn enter(&mut self, path: &Path) -> io::Result<Folder> {
        if let Some((_, folder)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return Ok(folder.clone());
        }
        let mut ahead: VecDeque<OsString> = path.iter().map(OsStr::to_os_string).collect();
        let mut stack: Vec<Folder> = Vec::new();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                // The parent of the root is the root, as after chroot.
                stack.pop();
                continue;
            }
            let here = stack.last().cloned().unwrap_or_else(|| self.root_folder());
            match self.step(&here, &part)? {
                Step::Into(fd) => {
                    stack.push(Folder {
                        fd: Rc::new(fd),
                        path: here.path.join(&part),
                    });
                }
                Step::Link(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(refused("too many symbolic links in its path"));
                    }
                    if target.as_bytes().starts_with(b"/") {
                        stack.clear();
                    }
                    for part in target.as_bytes().split(|&b| b == b'/').rev() {
                        if !part.is_empty() && part != b"." {
                            ahead.push_front(OsStr::from_bytes(part).to_os_string());
                        }
                    }
                }
            }
        }
        let folder = stack.pop().unwrap_or_else(|| self.root_folder());
        self.last = Some((path.to_path_buf(), folder.clone()));
        Ok(folder)
    }

    fn root_folder(&self) -> Folder {
        Folder {
            fd: self.root.clone(),
            path: PathBuf::new(),
        }
    }

    fn step(&mut self, here: &Folder, part: &OsStr) -> io::Result<Step> {
        let hidden = match stat(&here.fd, part)? {
            Some(stat) if kind(&stat) == FileType::Directory => {
                return Ok(Step::Into(open_folder(&here.fd, part)?));
            }
            Some(stat) if kind(&stat) == FileType::Symlink => {
                let target = rustix::fs::readlinkat(&*here.fd, part, Vec::new())?;
                return Ok(Step::Link(OsString::from_vec(target.into_bytes())));
            }
            Some(stat) if is_whiteout(&stat) => {
                rustix::fs::unlinkat(&*here.fd, part, AtFlags::empty())?;
                true
            }
            Some(_) => return Err(refused("a part of its path is no folder")),
            None => false,
        };
        let path = here.path.join(part);
        let lower = match hidden {
            true => Found::Nothing,
            false => self.lowers.find(&path)?,
        };
        if let Found::Symlink(target) = lower {
            return Ok(Step::Link(target));
        }
        rustix::fs::mkdirat(&*here.fd, part, Mode::RWXU)?;
        let made = open_folder(&here.fd, part)?;
        if hidden {
            make_opaque(&made)?;
        }
        match lower {
            Found::Folder(lower) => self.like(&made, &path, &lower)?,
            _ => rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?,
        }
        Ok(Step::Into(made))
    }

    /// Gives a folder the attributes of the lower folder it is merged with.
    fn like(&mut self, folder: &OwnedFd, path: &Path, lower: &OwnedFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(lower)?;
        copy_attributes(lower, folder, &stat)?;
        self.folder_times
            .push((path.to_path_buf(), modified(&stat)));
        Ok(())
    }

    /// Runs `make`, after removing what this layer already had under the name if there is any.
    fn replacing<T>(
        &mut self,
        folder: &OwnedFd,
        name: &OsStr,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.remove(folder, name)?;
                Ok(make()?)
            }
            done => Ok(done?),
        }
    }

    fn remove(&mut self, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        // It may be a link or folder that the remembered path went through.
        self.last = None;
        windlass_tree::remove_at(folder, name)
    }

    fn set_folder_times(&self) -> io::Result<()> {
        for (path, time) in self.folder_times.iter().rev() {
            let opened = match path.as_os_str().is_empty() {
                true => Ok(self.root.clone()),
                false => {
                    open_beneath(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY).map(Rc::new)
                }
            };
            // A later entry may have replaced the folder.
            if let Ok(folder) = opened {
                rustix::fs::futimens(&*folder, &timestamps(*time))?;
            }
        }
        Ok(())
    }
}

enum Step {
    Into(OwnedFd),
    Link(OsString),
}

/// A name as a path without `.`, `..` and a leading slash: everything lands inside.
fn cleaned(name: &[u8]) -> io::Result<PathBuf> {
    if name.is_empty() {
        return Err(refused("an empty name"));
    }
    let mut path = PathBuf::new();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(refused("a name with ..")),
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok(path)
}

fn whiteout(folder: &Folder, name: &OsStr) -> io::Result<()> {
    let kind = FileType::CharacterDevice;
    Ok(rustix::fs::mknodat(
        &*folder.fd,
        name,
        kind,
        Mode::empty(),
        0,
    )?)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
