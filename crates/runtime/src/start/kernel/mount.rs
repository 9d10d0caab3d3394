//! Mounts, detached ones above all.

use std::ffi::CStr;
use std::os::fd::RawFd;

use super::{EMPTY, Sys, call, close, errno, small, text, word};

pub(crate) const ATTR_RDONLY: u64 = 0x01;
pub(crate) const ATTR_NOSUID: u64 = 0x02;
pub(crate) const ATTR_NODEV: u64 = 0x04;
pub(crate) const ATTR_NOEXEC: u64 = 0x08;
pub(crate) const ATTR_NOATIME: u64 = 0x10;
pub(crate) const ATTR_STRICTATIME: u64 = 0x20;
pub(crate) const ATTR_NODIRATIME: u64 = 0x80;

pub(crate) const PROC_MAGIC: i64 = 0x9fa0;
pub(crate) const SYSFS_MAGIC: i64 = 0x6265_6572;
pub(crate) const CGROUP_MAGIC: i64 = 0x27_e0eb;
pub(crate) const CGROUP2_MAGIC: i64 = 0x6367_7270;
pub(crate) const DEVPTS_MAGIC: i64 = 0x1cd1;
pub(crate) const TMPFS_MAGIC: i64 = 0x0102_1994;
pub(crate) const NSFS_MAGIC: i64 = 0x6e73_6673;

/// The magic number of the file system a descriptor lies on.
pub(crate) fn fs_magic(fd: RawFd) -> Sys<i64> {
    // SAFETY: a zeroed statfs is valid, and fstatfs fills it.
    unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        if libc::fstatfs(fd, &mut stat) < 0 {
            return Err(errno());
        }
        Ok(stat.f_type)
    }
}

/// Whether a descriptor lies on one of the kernel's own file systems.
pub(crate) fn is_system(fd: RawFd) -> Sys<bool> {
    let magic = fs_magic(fd)?;
    Ok([PROC_MAGIC, SYSFS_MAGIC, CGROUP_MAGIC, CGROUP2_MAGIC].contains(&magic))
}

/// Whether the mount the descriptor came through forbids writing.
pub(crate) fn on_readonly_mount(fd: RawFd) -> Sys<bool> {
    // SAFETY: a zeroed statvfs is valid, and fstatvfs fills it.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        if libc::fstatvfs(fd, &mut stat) < 0 {
            return Err(errno());
        }
        Ok(stat.f_flag & libc::ST_RDONLY != 0)
    }
}

/// The id of the mount a descriptor lies on.
pub(crate) fn mount_id(fd: RawFd) -> Sys<u64> {
    // SAFETY: a zeroed statx is valid; the path is the empty string, so `fd` itself is meant.
    unsafe {
        let mut stat: libc::statx = std::mem::zeroed();
        call(
            libc::SYS_statx,
            [
                word(fd),
                text(EMPTY),
                libc::AT_EMPTY_PATH as usize,
                libc::STATX_MNT_ID as usize,
                (&raw mut stat) as usize,
                0,
            ],
        )?;
        Ok(stat.stx_mnt_id)
    }
}

pub(crate) fn fsopen(kind: &CStr) -> Sys<RawFd> {
    // SAFETY: the string ends in NUL; 1 is FSOPEN_CLOEXEC.
    unsafe { call(libc::SYS_fsopen, [text(kind), 1, 0, 0, 0, 0]) }.map(small)
}

/// Sets one option of a file system to be; an empty value makes it a flag.
pub(crate) fn fsconfig(fs: RawFd, key: &CStr, value: &CStr) -> Sys<()> {
    let (command, value) = if value.is_empty() {
        (0, 0)
    } else {
        (1, text(value))
    };
    // SAFETY: both strings end in NUL; FSCONFIG_SET_FLAG (0) takes no value.
    unsafe {
        call(
            libc::SYS_fsconfig,
            [word(fs), command, text(key), value, 0, 0],
        )
    }
    .map(drop)
}

/// Makes the file system and a detached mount of it.
pub(crate) fn fsmount(fs: RawFd, attributes: u64) -> Sys<RawFd> {
    // SAFETY: 6 is FSCONFIG_CMD_CREATE, without arguments; 1 is FSMOUNT_CLOEXEC.
    unsafe {
        call(libc::SYS_fsconfig, [word(fs), 6, 0, 0, 0, 0])?;
        call(
            libc::SYS_fsmount,
            [word(fs), 1, attributes as usize, 0, 0, 0],
        )
    }
    .map(small)
}

/// A detached mount of a fresh file system.
pub(crate) fn new_mount(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Sys<RawFd> {
    let fs = fsopen(kind)?;
    let made = (|| {
        fsconfig(fs, c"source", kind)?;
        for (key, value) in options {
            fsconfig(fs, key, value)?;
        }
        fsmount(fs, attributes)
    })();
    close(fs);
    made
}

/// A detached copy of the mount at `path`, from that path down; an empty path means `dir` itself.
pub(crate) fn open_tree(dir: RawFd, path: &CStr, recursive: bool) -> Sys<RawFd> {
    let mut flags = 1 | libc::O_CLOEXEC as usize;
    if recursive {
        flags |= 0x8000;
    }
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH as usize;
    }
    // SAFETY: the path ends in NUL.
    unsafe { call(libc::SYS_open_tree, [word(dir), text(path), flags, 0, 0, 0]) }.map(small)
}

/// Adds attributes to a mount and sets its propagation (0 leaves it).
pub(crate) fn mount_setattr(mount: RawFd, set: u64, propagation: u64, recursive: bool) -> Sys<()> {
    let attributes = [set, 0, propagation, 0];
    let flags = libc::AT_EMPTY_PATH as usize | if recursive { 0x8000 } else { 0 };
    // SAFETY: four words, the size named; the empty path means the descriptor.
    unsafe {
        call(
            libc::SYS_mount_setattr,
            [
                word(mount),
                text(EMPTY),
                flags,
                attributes.as_ptr() as usize,
                size_of_val(&attributes),
                0,
            ],
        )
    }
    .map(drop)
}

/// Attaches a detached mount onto a descriptor: no path, nothing to swap.
pub(crate) fn attach(mount: RawFd, target: RawFd) -> Sys<()> {
    // SAFETY: both paths are empty and flagged so (MOVE_MOUNT_F_EMPTY_PATH | T_EMPTY_PATH).
    unsafe {
        call(
            libc::SYS_move_mount,
            [word(mount), text(EMPTY), word(target), text(EMPTY), 0x44, 0],
        )
    }
    .map(drop)
}

/// Classic mount(2), for what has no newer form.
pub(crate) fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) -> Sys<()> {
    // SAFETY: all strings end in NUL.
    unsafe {
        call(
            libc::SYS_mount,
            [
                text(source),
                text(target),
                text(kind),
                flags as usize,
                text(data),
                0,
            ],
        )
    }
    .map(drop)
}

pub(crate) fn detach(target: &CStr) -> Sys<()> {
    // SAFETY: the path ends in NUL.
    unsafe {
        call(
            libc::SYS_umount2,
            [text(target), libc::MNT_DETACH as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Makes the current folder the root and puts the old root under it.
pub(crate) fn pivot_here() -> Sys<()> {
    // SAFETY: both paths are the static ".".
    unsafe { call(libc::SYS_pivot_root, [text(c"."), text(c"."), 0, 0, 0, 0]) }.map(drop)
}
