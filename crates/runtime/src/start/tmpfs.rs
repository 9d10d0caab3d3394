//! Memory file systems of a container: their options, and how they are mounted.
//!
//! `nosuid`, `nodev` and `noexec` unless the options say otherwise, as in the field. One that covers
//! a folder of the image takes its mode, as runc has it, and its owner; options that name these win.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use super::container::Source;
use super::kernel::{
    self, ATTR_NOATIME, ATTR_NODEV, ATTR_NODIRATIME, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY,
    ATTR_STRICTATIME, Sys,
};
use super::{StartError, cstring, failed};
use crate::spec::Mount;

/// A memory file system to be.
pub(super) struct Tmpfs {
    options: Vec<(CString, CString)>,
    attributes: u64,
    /// `MS_PRIVATE` and its like; 0 leaves it.
    propagation: u64,
    /// The options name the mode, the owner, the group.
    named: [bool; 3],
}

/// What one option changes.
#[derive(Debug, PartialEq, Eq)]
enum Flag {
    Add(u64),
    Remove(u64),
    Propagation(u64),
    /// It means nothing in memory, or to this kernel.
    Nothing,
}

/// Checks the options, which may come several in one text, as mount(8) takes them.
pub(super) fn prepare(
    size_bytes: u64,
    options: &[String],
    mount: &Mount,
) -> Result<Source, StartError> {
    let mut tmpfs = Tmpfs {
        options: vec![
            (c"source".to_owned(), c"tmpfs".to_owned()),
            (
                c"size".to_owned(),
                cstring("mount", &size_bytes.to_string())?,
            ),
        ],
        attributes: ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC,
        propagation: 0,
        named: [false; 3],
    };
    for option in options.iter().flat_map(|option| option.split(',')) {
        tmpfs.take(option, mount)?;
    }
    if mount.readonly {
        tmpfs.attributes |= ATTR_RDONLY;
    }
    Ok(Source::Tmpfs(tmpfs))
}

impl Tmpfs {
    fn take(&mut self, option: &str, mount: &Mount) -> Result<(), StartError> {
        let refused = || {
            let place = &mount.target;
            let detail = format!("invalid option {option:?} of the memory file system at {place}");
            failed("mount", libc::EINVAL, detail)
        };
        let Some((key, value)) = option.split_once('=') else {
            match flag(option).ok_or_else(refused)? {
                Flag::Add(bits) => {
                    // Of the three ways to keep access times, the last one named holds.
                    if bits & (ATTR_NOATIME | ATTR_STRICTATIME) != 0 {
                        self.attributes &= !(ATTR_NOATIME | ATTR_STRICTATIME);
                    }
                    self.attributes |= bits;
                }
                Flag::Remove(bits) => self.attributes &= !bits,
                Flag::Propagation(kind) => self.propagation = kind,
                Flag::Nothing => {}
            }
            return Ok(());
        };
        match key {
            "mode" => self.named[0] = true,
            "uid" => self.named[1] = true,
            "gid" => self.named[2] = true,
            "nr_inodes" | "nr_blocks" | "mpol" => {}
            _ => return Err(refused()),
        }
        if value.is_empty() {
            return Err(refused());
        }
        let setting = (cstring("mount", key)?, cstring("mount", value)?);
        self.options.push(setting);
        Ok(())
    }

    /// Makes it; in the container's process. `covered` is the folder it is going to lie on, when
    /// that was there before.
    pub(super) fn mount(&self, covered: Option<RawFd>) -> Sys<RawFd> {
        let fs = kernel::fsopen(c"tmpfs")?;
        if let Some(folder) = covered {
            self.resemble(fs, folder)?;
        }
        for (key, value) in &self.options {
            kernel::fsconfig(fs, key, value)?;
        }
        let mount = kernel::fsmount(fs, self.attributes)?;
        kernel::close(fs);
        Ok(mount)
    }

    /// Once it is attached: propagation is between mounts that stand somewhere.
    pub(super) fn propagate(&self, mount: RawFd) -> Sys<()> {
        if self.propagation == 0 {
            return Ok(());
        }
        kernel::mount_setattr(mount, 0, self.propagation, false)
    }

    fn resemble(&self, fs: RawFd, folder: RawFd) -> Sys<()> {
        let stat = kernel::fstat(folder)?;
        let values = [
            (c"mode", stat.st_mode & 0o7777, 8),
            (c"uid", stat.st_uid, 10),
            (c"gid", stat.st_gid, 10),
        ];
        for ((key, value, base), named) in values.into_iter().zip(self.named) {
            if !named {
                let mut digits = [0; DIGITS];
                kernel::fsconfig(fs, key, number(value, base, &mut digits))?;
            }
        }
        Ok(())
    }
}

/// A number of 32 bits in octal, and NUL.
const DIGITS: usize = 12;

/// A number as text, without allocating.
fn number(mut value: u32, base: u32, digits: &mut [u8; DIGITS]) -> &CStr {
    let mut at = DIGITS - 1;
    loop {
        at -= 1;
        digits[at] = b'0' + (value % base) as u8;
        value /= base;
        if value == 0 {
            break;
        }
    }
    CStr::from_bytes_until_nul(&digits[at..]).unwrap_or_default()
}

/// Mount options by name. `None` for one that is unknown, or would make it another kind of mount.
fn flag(name: &str) -> Option<Flag> {
    use Flag::{Add, Nothing, Propagation, Remove};
    Some(match name {
        "ro" => Add(ATTR_RDONLY),
        "rw" => Remove(ATTR_RDONLY),
        "nosuid" => Add(ATTR_NOSUID),
        "suid" => Remove(ATTR_NOSUID),
        "nodev" => Add(ATTR_NODEV),
        "dev" => Remove(ATTR_NODEV),
        "noexec" => Add(ATTR_NOEXEC),
        "exec" => Remove(ATTR_NOEXEC),
        "noatime" => Add(ATTR_NOATIME),
        "strictatime" => Add(ATTR_STRICTATIME),
        "nodiratime" => Add(ATTR_NODIRATIME),
        "diratime" => Remove(ATTR_NODIRATIME),
        "atime" => Remove(ATTR_NOATIME),
        "relatime" => Remove(ATTR_NOATIME | ATTR_STRICTATIME),
        "nostrictatime" => Remove(ATTR_STRICTATIME),
        "private" | "rprivate" => Propagation(libc::MS_PRIVATE),
        "shared" | "rshared" => Propagation(libc::MS_SHARED),
        "slave" | "rslave" => Propagation(libc::MS_SLAVE),
        "unbindable" | "runbindable" => Propagation(libc::MS_UNBINDABLE),
        // Without relative access times a mount has strict ones only when these are asked for, and
        // the kernel has dropped mandatory locks.
        "norelatime" | "mand" | "nomand" | "defaults" | "async" | "sync" | "dirsync" => Nothing,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::MountKind;

    const START: u64 = ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;

    fn attributes(options: &[&str]) -> Result<u64, String> {
        let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
        let mount = Mount {
            target: "/x".into(),
            kind: MountKind::Tmpfs {
                size_bytes: 1,
                options: Vec::new(),
            },
            readonly: false,
        };
        match prepare(1, &options, &mount) {
            Ok(Source::Tmpfs(tmpfs)) => Ok(tmpfs.attributes),
            Ok(_) => unreachable!("a tmpfs was asked for"),
            Err(error) => Err(error.detail),
        }
    }

    #[test]
    fn options_are_flags_or_refused() {
        for (options, want) in [
            (&["exec"][..], ATTR_NOSUID | ATTR_NODEV),
            (&["ro"], START | ATTR_RDONLY),
            (&["ro", "rw"], START),
            (
                &["rw,noatime", "nodiratime"],
                START | ATTR_NOATIME | ATTR_NODIRATIME,
            ),
            (&["noatime", "strictatime"], START | ATTR_STRICTATIME),
            (&["strictatime", "nostrictatime"], START),
            (&["noatime", "relatime"], START),
            (
                &["mand", "unbindable", "shared", "rslave", "norelatime"],
                START,
            ),
            (
                &["mode=0700", "uid=5", "gid=6", "nr_inodes=9", "mpol=local"],
                START,
            ),
        ] {
            assert_eq!(attributes(options), Ok(want), "{options:?}");
        }
        for option in [
            "bind",
            "rbind",
            "remount",
            "lowerdir=/",
            "mode",
            "mode=",
            "size=1",
            "",
        ] {
            let told = format!("invalid option {option:?} of the memory file system at /x");
            assert_eq!(attributes(&[option]), Err(told));
        }
    }

    #[test]
    fn numbers_become_text() {
        for (value, base, want) in [
            (0, 8, c"0"),
            (0o1777, 8, c"1777"),
            (u32::MAX, 10, c"4294967295"),
            (u32::MAX, 8, c"37777777777"),
        ] {
            assert_eq!(number(value, base, &mut [0; DIGITS]), want);
        }
    }
}
