//! Owners, modes, times and extended attributes of unpacked files: what an image may set.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::entries::Entry;
use crate::lowers::OPAQUE;

const NOTICES_MAX: usize = 20;
/// The kernel's limits for a value and for a list of names.
const XATTR_BYTES: usize = 64 << 10;

/// Sets owner, mode and extended attributes. The order matters: a change of owner clears the
/// set-user-id bit and file capabilities.
pub(crate) fn describe(fd: &OwnedFd, entry: &Entry, notices: &mut Notices) -> io::Result<()> {
    let (uid, gid) = owner(entry);
    rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        if name == DEFAULT_ACL.as_bytes() {
            continue;
        }
        let why = match is_kept(name, value) {
            true => match set(fd, name, value) {
                Ok(()) => continue,
                Err(error) => error.to_string(),
            },
            false => "not taken from images".to_string(),
        };
        notices.add(|| {
            let (path, name) = (entry.path.escape_ascii(), name.escape_ascii());
            format!("attribute {name} of \"{path}\" was left out: {why}")
        });
    }
    Ok(())
}

fn set(fd: &OwnedFd, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty())
}

/// Capabilities of programs such as ping, access control lists, and what users store. `trusted.`
/// would be overlayfs's own marks, other `security.` ones labels of the machine that built the
/// image. The kernel checks the form of capabilities and lists.
fn is_kept(name: &[u8], value: &[u8]) -> bool {
    match name {
        // Versions 2 and 3 of the kernel's structure.
        b"security.capability" => matches!(value.len(), 20 | 24),
        b"system.posix_acl_access" => true,
        _ => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
    }
}

/// The access control list that files made in a folder inherit. It is set once all are made that
/// the image has there, which have lists of their own or none.
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// The one that an entry gives its folder.
pub(crate) fn default_acl(entry: &Entry) -> Option<&[u8]> {
    let found = entry
        .xattrs
        .iter()
        .rfind(|(name, _)| name == DEFAULT_ACL.as_bytes());
    found.map(|(_, value)| value.as_slice())
}

/// The one that a folder has.
pub(crate) fn default_acl_of(folder: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; XATTR_BYTES];
    match rustix::fs::fgetxattr(folder, DEFAULT_ACL, &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn set_default_acl(folder: &OwnedFd, acl: &[u8]) -> rustix::io::Result<()> {
    set(folder, DEFAULT_ACL.as_bytes(), acl)
}

/// Takes away the attributes that images may set.
pub(crate) fn clear(folder: &OwnedFd) -> io::Result<()> {
    for name in kept_names(folder)? {
        match rustix::fs::fremovexattr(folder, &*name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Names of attributes that images may set, whatever their values.
fn kept_names(from: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = vec![0; XATTR_BYTES];
    let length = rustix::fs::flistxattr(from, &mut names[..])?;
    let names = names[..length].split(|&b| b == 0);
    // The length of a capability's value is looked at where there is a value.
    let kept = names.filter(|name| is_kept(name, &[0; 20]));
    Ok(kept
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect())
}

/// Hides what lower layers have in a folder.
pub(crate) fn make_opaque(folder: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(
        folder,
        OPAQUE,
        b"y",
        XattrFlags::empty(),
    )?)
}

/// Makes one file or folder like another, but for the access control list that files made in it
/// inherit.
pub(crate) fn copy_attributes(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(uid), Some(gid))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for name in kept_names(from)? {
        let mut value = vec![0; XATTR_BYTES];
        let Ok(length) = rustix::fs::fgetxattr(from, &*name, &mut value[..]) else {
            continue;
        };
        match set(to, name.as_bytes(), &value[..length]) {
            // A volume may lie on a file system that has none.
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rustix::fs::futimens(to, &timestamps(modified(stat)))?)
}

pub(crate) fn owner(entry: &Entry) -> (Uid, Gid) {
    (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid))
}

pub(crate) fn time(entry: &Entry) -> Timespec {
    Timespec {
        tv_sec: entry.mtime.0,
        tv_nsec: entry.mtime.1.into(),
    }
}

pub(crate) fn modified(stat: &Stat) -> Timespec {
    Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec as _,
    }
}

pub(crate) fn timestamps(time: Timespec) -> Timestamps {
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Remarks for the operator, as many as one wants to read.
#[derive(Default)]
pub(crate) struct Notices {
    kept: Vec<String>,
    more: u64,
}

impl Notices {
    pub(crate) fn add(&mut self, text: impl FnOnce() -> String) {
        match self.kept.len() < NOTICES_MAX {
            true => self.kept.push(text()),
            false => self.more += 1,
        }
    }

    pub(crate) fn finish(&mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept
                .push(format!("and {} more were left out", self.more));
        }
        std::mem::take(&mut self.kept)
    }
}
