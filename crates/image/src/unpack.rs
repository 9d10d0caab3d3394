//! Unpacks one layer into a folder that overlayfs takes as a lower folder.
//!
//! The layer may be hostile, so nothing in it is ever joined to a path of this machine. A name is
//! walked part by part from the folder's descriptor; links on the way, also those that lower layers
//! hold, are followed by hand inside the tree, and the kernel is asked to refuse any that is left.
//! The last part of a name is never followed: what was there is replaced.
//!
//! A whiteout becomes overlayfs's character device 0/0 and an opaque mark its extended attribute.
//! Neither acts on what the same layer holds. Device nodes are left out, because a container's /dev
//! is made by the runtime, and hard links to them with them; of the extended attributes only file
//! capabilities, access control lists and `user.` ones stay.
//!
//! Elsewhere: reading entries (`entries`), decompression and digest (`inflate`), durability and the
//! mark that says a layer is whole (`store`).

mod aufs;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec};
use rustix::io::Errno;

use crate::attributes::{
    Notices, clear, copy_attributes, default_acl, default_acl_of, describe, make_opaque, modified,
    owner, set_default_acl, time, timestamps,
};
use crate::entries::{Entries, Entry, Kind};
use crate::error::Error;
use crate::holes;
use crate::inflate::{Plain, with_plain};
use crate::limits::Limits;
use crate::lowers::{Found, Lowers, create, is_whiteout, kind, open_beneath, open_folder, stat};
use crate::watch;

/// Left-out nodes of one layer that are remembered for hard links to them.
const LEFT_OUT_MAX: usize = 10_000;

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
/// below, the topmost first; `look` is asked now and then whether to go on. The caller compares the digest and removes the folder on an error.
pub(crate) fn unpack(
    layer: &str,
    source: impl Read + Send,
    folder: &Path,
    lowers: &[PathBuf],
    limits: &Limits,
    budget: &mut Budget,
    look: &dyn Fn() -> Result<(), Error>,
) -> Result<Unpacked, Error> {
    let (entries_max, bytes_max) = (budget.entries, budget.bytes);
    let unpacked = with_plain(source, limits, budget.bytes, look, |plain| {
        let mut tree = Tree::open(folder, lowers)?;
        let mut entries = Entries::new(plain, limits);
        let (mut count, mut holes) = (0, 0u64);
        while let Some(entry) = entries.next()? {
            watch::go_on().map_err(io::Error::other)?;
            count += 1;
            if count > entries_max {
                return Err(over("the number of files", limits.image_entries));
            }
            // Holes take no room, and would if something copied the file.
            holes = holes.saturating_add(entry.sparse.as_ref().map_or(0, |file| file.length));
            if holes > bytes_max {
                return Err(over("the size of sparse files", limits.image_bytes));
            }
            tree.add(&entry, &mut entries)
                .map_err(|e| named(&entry.path, e))?;
        }
        entries.finish()?;
        tree.finish_folders()?;
        Ok((count, holes, tree.notices.finish()))
    });
    let ((entries, holes, notices), plain) = unpacked.map_err(|e| told(layer, e))?;
    budget.bytes = budget.bytes.saturating_sub(plain.bytes);
    budget.bytes = budget.bytes.saturating_sub(holes);
    budget.entries = budget.entries.saturating_sub(entries);
    Ok(Unpacked {
        plain,
        entries,
        notices,
    })
}

fn over(what: &str, limit: u64) -> io::Error {
    let what = what.to_string();
    io::Error::other(Error::Limit { what, limit })
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
    /// Set at the end, too: whatever is made in a folder inherits them.
    default_acls: BTreeMap<PathBuf, Vec<u8>>,
    /// Nodes that were left out, and links to them.
    left_out: BTreeSet<PathBuf>,
    plinks: aufs::Plinks,
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
            default_acls: BTreeMap::new(),
            left_out: BTreeSet::new(),
            plinks: aufs::Plinks::default(),
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
        if aufs::is_metadata(&path) {
            return self.add_aufs_metadata(&path, entry, content);
        }
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
                self.leave_out(folder.path.join(name), || {
                    format!("device node \"{}\" was left out", entry.path.escape_ascii())
                });
                Ok(())
            }
        }
    }

    fn leave_out(&mut self, path: PathBuf, notice: impl FnOnce() -> String) {
        if self.left_out.len() < LEFT_OUT_MAX {
            self.left_out.insert(path);
        }
        self.notices.add(notice);
    }

    fn add_root(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind != Kind::Folder {
            return Err(refused("only a folder can be the root"));
        }
        let root = self.root.clone();
        self.describe_folder(&root, PathBuf::new(), entry)
    }

    /// Gives a folder what its entry says, in place of what a lower layer's folder gave it.
    fn describe_folder(&mut self, fd: &OwnedFd, path: PathBuf, entry: &Entry) -> io::Result<()> {
        clear(fd)?;
        describe(fd, entry, &mut self.notices)?;
        match default_acl(entry) {
            Some(acl) => drop(self.default_acls.insert(path.clone(), acl.to_vec())),
            None => drop(self.default_acls.remove(&path)),
        }
        self.folder_times.push((path, time(entry)));
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
        if bytes.is_empty() || bytes == b"." || bytes == b".." {
            return Err(refused("not a valid whiteout"));
        }
        if bytes.starts_with(b".wh.") {
            // No layer shows a file of this name that it could hide.
            return Ok(());
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
        let made = open_folder(&folder.fd, name)?;
        self.describe_folder(&made, folder.path.join(name), entry)
    }

    fn add_file(
        &mut self,
        folder: &Folder,
        name: &OsStr,
        entry: &Entry,
        content: &mut impl Read,
    ) -> io::Result<()> {
        let fd = self.replacing(&folder.fd, name, || create(&folder.fd, name))?;
        self.fill(fd, entry, content).map(drop)
    }

    /// Gives a new file its content, and all that its entry says of it.
    fn fill(&mut self, fd: OwnedFd, entry: &Entry, content: &mut impl Read) -> io::Result<OwnedFd> {
        let mut file = File::from(fd);
        let (written, length) = match &entry.sparse {
            Some(sparse) => {
                let written = holes::copy(&mut sparse.filled(content), &mut file)?;
                (written, sparse.length)
            }
            None => (holes::copy(content, &mut file)?, entry.size),
        };
        if written != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fd = OwnedFd::from(file);
        describe(&fd, entry, &mut self.notices)?;
        rustix::fs::futimens(&fd, &timestamps(time(entry)))?;
        Ok(fd)
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
        if aufs::is_metadata(&target) {
            return self.add_plink(folder, name, target_name);
        }
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
            None if self.left_out.contains(&from.path.join(target_name)) => {
                self.leave_out(folder.path.join(name), || {
                    let path = entry.path.escape_ascii();
                    format!("\"{path}\" was left out with the device node it links to")
                });
                return Ok(());
            }
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
                holes::copy(&mut source, &mut copy)?;
                copy_attributes(&source.into(), &copy.into(), &stat)
            }
            _ => Err(refused("a hard link to a file that no layer has")),
        }
    }

    /// Gives a folder the attributes of the lower folder it is merged with.
    fn like(&mut self, folder: &OwnedFd, path: &Path, lower: &OwnedFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(lower)?;
        copy_attributes(lower, folder, &stat)?;
        if let Some(acl) = default_acl_of(lower)? {
            self.default_acls.insert(path.to_path_buf(), acl);
        }
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

    /// Sets what whatever is made in a folder would change or inherit.
    fn finish_folders(&mut self) -> io::Result<()> {
        for (path, acl) in std::mem::take(&mut self.default_acls) {
            // A later entry may have replaced the folder.
            if let Ok(folder) = self.reopen(&path)
                && let Err(error) = set_default_acl(&folder, &acl)
            {
                self.notices.add(|| {
                    let path = path.as_os_str().as_bytes().escape_ascii();
                    format!("the default access list of \"{path}\" was left out: {error}")
                });
            }
        }
        for (path, time) in self.folder_times.iter().rev() {
            if let Ok(folder) = self.reopen(path) {
                rustix::fs::futimens(&folder, &timestamps(*time))?;
            }
        }
        Ok(())
    }

    fn reopen(&self, path: &Path) -> io::Result<OwnedFd> {
        match path.as_os_str().is_empty() {
            true => self.root.try_clone(),
            false => open_beneath(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY),
        }
    }
}

/// A name as a path without `.`, `..` and a leading slash: everything lands inside. `..` takes away
/// the part before it, as Go's reader does; where there is none in a relative name it would lead
/// out, and the name is refused.
fn cleaned(name: &[u8]) -> io::Result<PathBuf> {
    let mut path = PathBuf::new();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if path.pop() || name.starts_with(b"/") => {}
            b".." => return Err(refused("a name with .. that leads out of the image")),
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
