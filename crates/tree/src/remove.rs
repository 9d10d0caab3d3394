//! Removes a tree, however deep, with a fixed number of descriptors.
//!
//! Folders are not walked down: a folder within a folder is first renamed into the topmost one, where
//! it is emptied in its turn. So nothing is ever more than one step away, and a tree of a hundred
//! thousand nested folders costs as much as one with that many side by side.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::folder::{names, open_at, open_folder};

/// Removes what is at a path, with everything in it; nothing there is no failure. Links on the way
/// to it are followed, at it and below it none.
///
/// # Errors
/// What could not be removed: how much, and the first of it. Everything else is gone.
pub fn remove(path: &Path) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a path without a name at its end",
        ));
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(parent) => remove_at(parent, name),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a name in an open folder, as [`remove`].
///
/// # Errors
/// As [`remove`].
pub fn remove_at(folder: impl AsFd, name: &OsStr) -> io::Result<()> {
    let folder = folder.as_fd();
    match unlink(folder, name) {
        Err(Errno::ISDIR) => {}
        done => return Ok(done?),
    }
    let top = match open_folder(folder, name) {
        // One that nothing may be read in is perhaps empty.
        Err(_) if remove_empty(folder, name).is_ok() => return Ok(()),
        top => top?,
    };
    let mut emptying = Emptying {
        top,
        moved: 0,
        has_progress: false,
        left: Left::default(),
    };
    loop {
        emptying.pass()?;
        match remove_empty(folder, name) {
            Ok(()) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if emptying.has_progress => {}
            Err(errno) => return Err(emptying.left.into_error(errno)),
        }
    }
}

struct Emptying {
    top: OwnedFd,
    /// Folders that were renamed into the topmost one; names the next.
    moved: u64,
    has_progress: bool,
    /// Of the present pass.
    left: Left,
}

impl Emptying {
    /// Goes through the topmost folder once. Whether a listing shows what came during it is the file
    /// system's choice; the next pass sees it.
    fn pass(&mut self) -> Result<(), Errno> {
        self.has_progress = false;
        self.left = Left::default();
        for name in names(self.top.as_fd())? {
            let name = name?;
            match discard(&self.top, &name) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    if let Err(errno) = self.empty(&name) {
                        self.left.add(&name, errno);
                    }
                }
                done => self.count(&name, done),
            }
        }
        Ok(())
    }

    /// Empties a folder of the topmost one and removes it.
    fn empty(&mut self, name: &OsStr) -> Result<(), Errno> {
        let folder = open_folder(&self.top, name)?;
        let mut left = false;
        for name in names(folder.as_fd())? {
            let name = name?;
            let done = match discard(&folder, &name) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => self.move_up(&folder, &name),
                done => done,
            };
            left |= done.is_err();
            self.count(&name, done);
        }
        match remove_empty(&self.top, name) {
            Ok(()) => self.has_progress = true,
            // What is left in it has been told.
            Err(Errno::NOTEMPTY | Errno::EXIST) if left => {}
            // A listing may leave out what came during it: the next pass sees that.
            Err(Errno::NOTEMPTY | Errno::EXIST) if self.has_progress => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn move_up(&mut self, folder: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        loop {
            let number = OsString::from(self.moved.to_string());
            self.moved += 1;
            let moved = loosened(folder, name, || {
                rustix::fs::renameat(folder, name, &self.top, &number)
            });
            match moved {
                // The name is the tree's own.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::ISDIR) => {}
                done => return done,
            }
        }
    }

    fn count(&mut self, name: &OsStr, done: Result<(), Errno>) {
        match done {
            Ok(()) => self.has_progress = true,
            Err(errno) => self.left.add(name, errno),
        }
    }
}

/// What could not be removed.
#[derive(Default)]
struct Left {
    first: Option<(OsString, Errno)>,
    more: u64,
}

impl Left {
    fn add(&mut self, name: &OsStr, errno: Errno) {
        match self.first {
            None => self.first = Some((name.to_owned(), errno)),
            Some(_) => self.more += 1,
        }
    }

    fn into_error(self, own: Errno) -> io::Error {
        let Some((name, errno)) = self.first else {
            return own.into();
        };
        let name = name.as_encoded_bytes().escape_ascii();
        let cause = io::Error::from(errno);
        let text = match self.more {
            0 => format!("\"{name}\" in it: {cause}"),
            more => format!("\"{name}\" in it, and {more} more: {cause}"),
        };
        io::Error::new(cause.kind(), text)
    }
}

/// Removes anything but a folder with something in it.
fn discard(folder: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match unlink(folder, name) {
        Err(Errno::ISDIR) => remove_empty(folder, name),
        done => done,
    }
}

fn unlink(folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    unlink_as(folder, name, AtFlags::empty())
}

fn remove_empty(folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    unlink_as(folder, name, AtFlags::REMOVEDIR)
}

fn unlink_as(folder: impl AsFd, name: &OsStr, flags: AtFlags) -> Result<(), Errno> {
    let folder = folder.as_fd();
    match loosened(folder, name, || rustix::fs::unlinkat(folder, name, flags)) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Does it, if need be after taking away the marks by which a container with many privileges keeps
/// even root from changing a file or a folder.
fn loosened(
    folder: impl AsFd,
    name: &OsStr,
    act: impl Fn() -> Result<(), Errno>,
) -> Result<(), Errno> {
    match act() {
        Err(Errno::PERM) => {}
        done => return done,
    }
    let folder = folder.as_fd();
    // A descriptor that was opened for its place only cannot do it; then act says so again.
    let _ = loosen(folder);
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    // Of other kinds opening alone may do something.
    let kind = FileType::from_raw_mode(stat.st_mode);
    if matches!(kind, FileType::RegularFile | FileType::Directory)
        && let Ok(file) = open_at(folder, name, OFlags::RDONLY | OFlags::NONBLOCK)
    {
        let _ = loosen(&file);
    }
    act()
}

fn loosen(file: impl AsFd) -> Result<(), Errno> {
    let marks = IFlags::IMMUTABLE | IFlags::APPEND;
    let file = file.as_fd();
    let flags = rustix::fs::ioctl_getflags(file)?;
    match flags.intersects(marks) {
        true => rustix::fs::ioctl_setflags(file, flags - marks),
        false => Ok(()),
    }
}
