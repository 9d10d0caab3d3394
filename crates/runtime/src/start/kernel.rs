//! The system calls of the start sequence, each in the least code that makes it safe to call.
//!
//! Scope: everything here is usable between clone and execve: no allocation, no lock, no state of
//! the C library beyond `errno`. Descriptors are plain numbers for that reason; the side that
//! outlives the call wraps them in `OwnedFd`. Not here: any decision.
//!
//! By subject: files here, [`mount`], [`process`], [`socket`].
//!
//! Every argument is widened to a register before the variadic `syscall`, so that a static C
//! library never passes on garbage upper halves.

mod mount;
mod process;
mod socket;

use std::ffi::CStr;
use std::os::fd::RawFd;

pub(crate) use mount::*;
pub(crate) use process::*;
pub(crate) use socket::*;

/// A kernel's answer: a value, or the errno.
pub(crate) type Sys<T> = Result<T, i32>;

pub(crate) const EMPTY: &CStr = c"";
pub(crate) const RESOLVE_NO_XDEV: u64 = 0x01;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub(crate) const RESOLVE_BENEATH: u64 = 0x08;
pub(crate) const RESOLVE_IN_ROOT: u64 = 0x10;

/// A system call with its arguments already in registers' form.
///
/// # Safety
/// The arguments must be what the call `number` takes; pointers must be valid for what it does.
unsafe fn call(number: libc::c_long, a: [usize; 6]) -> Sys<usize> {
    // SAFETY: the caller vouches for the arguments; six registers are always passed, which no call
    // minds.
    let answer = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if answer < 0 {
        Err(errno())
    } else {
        Ok(answer as usize)
    }
}

fn errno() -> i32 {
    // SAFETY: the location is a valid thread-local of the C library, also in a fork-like child.
    unsafe { *libc::__errno_location() }
}

/// A descriptor or small number as the kernel answers it.
fn small(answer: usize) -> i32 {
    answer as i32
}

fn word(fd: RawFd) -> usize {
    fd as isize as usize
}

fn text(path: &CStr) -> usize {
    path.as_ptr() as usize
}

/// openat2, with O_CLOEXEC always.
pub(crate) fn openat2(dir: RawFd, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Sys<RawFd> {
    let how = [(flags | libc::O_CLOEXEC) as u64, u64::from(mode), resolve];
    // A concurrent rename makes the kernel answer EAGAIN; a hostile container could rename for
    // ever, so the number of tries is bounded.
    for _ in 0..128 {
        // SAFETY: `how` is three words, the size named; the path ends in NUL.
        match unsafe {
            call(
                libc::SYS_openat2,
                [
                    word(dir),
                    text(path),
                    how.as_ptr() as usize,
                    size_of_val(&how),
                    0,
                    0,
                ],
            )
        } {
            Err(libc::EAGAIN) => continue,
            answer => return answer.map(small),
        }
    }
    Err(libc::EAGAIN)
}

/// open of a path this process trusts.
pub(crate) fn open(path: &CStr, flags: i32) -> Sys<RawFd> {
    openat2(libc::AT_FDCWD, path, flags, 0, 0)
}

pub(crate) fn close(fd: RawFd) {
    // SAFETY: closing touches no memory. Only descriptors of the sequence are passed.
    let _ = unsafe { call(libc::SYS_close, [word(fd), 0, 0, 0, 0, 0]) };
}

/// Closes `first..=last`.
pub(crate) fn close_range(first: u32, last: u32) -> Sys<()> {
    // SAFETY: touches no memory; the caller owns the whole range or is about to execve or exit.
    unsafe {
        call(
            libc::SYS_close_range,
            [first as usize, last as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

pub(crate) fn dup3(from: RawFd, to: RawFd, flags: i32) -> Sys<()> {
    // SAFETY: touches no memory.
    unsafe {
        call(
            libc::SYS_dup3,
            [word(from), word(to), flags as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

/// A close-on-exec copy numbered at least `least`.
pub(crate) fn dup_above(fd: RawFd, least: RawFd) -> Sys<RawFd> {
    // SAFETY: touches no memory.
    unsafe {
        call(
            libc::SYS_fcntl,
            [
                word(fd),
                libc::F_DUPFD_CLOEXEC as usize,
                word(least),
                0,
                0,
                0,
            ],
        )
    }
    .map(small)
}

pub(crate) fn set_cloexec(fd: RawFd, on: bool) -> Sys<()> {
    let flag = if on { libc::FD_CLOEXEC as usize } else { 0 };
    // SAFETY: touches no memory.
    unsafe {
        call(
            libc::SYS_fcntl,
            [word(fd), libc::F_SETFD as usize, flag, 0, 0, 0],
        )
    }
    .map(drop)
}

pub(crate) fn write(fd: RawFd, bytes: &[u8]) -> Sys<usize> {
    // SAFETY: reads exactly the slice.
    unsafe {
        call(
            libc::SYS_write,
            [word(fd), bytes.as_ptr() as usize, bytes.len(), 0, 0, 0],
        )
    }
}

pub(crate) fn mkdirat(dir: RawFd, name: &CStr, mode: u32) -> Sys<()> {
    // SAFETY: the name ends in NUL.
    unsafe {
        call(
            libc::SYS_mkdirat,
            [word(dir), text(name), mode as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

/// `mode` with the file type, `device` from `makedev`.
pub(crate) fn mknodat(dir: RawFd, name: &CStr, mode: u32, device: u64) -> Sys<()> {
    // SAFETY: the name ends in NUL.
    unsafe {
        call(
            libc::SYS_mknodat,
            [word(dir), text(name), mode as usize, device as usize, 0, 0],
        )
    }
    .map(drop)
}

pub(crate) fn unlinkat(dir: RawFd, name: &CStr) -> Sys<()> {
    // SAFETY: the name ends in NUL.
    unsafe { call(libc::SYS_unlinkat, [word(dir), text(name), 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn symlinkat(to: &CStr, dir: RawFd, name: &CStr) -> Sys<()> {
    // SAFETY: both strings end in NUL.
    unsafe {
        call(
            libc::SYS_symlinkat,
            [text(to), word(dir), text(name), 0, 0, 0],
        )
    }
    .map(drop)
}

/// The link's text, without NUL; a text that fills the buffer is refused as too long.
pub(crate) fn readlinkat<'a>(dir: RawFd, name: &CStr, buffer: &'a mut [u8]) -> Sys<&'a [u8]> {
    // SAFETY: writes at most the buffer's length.
    let length = unsafe {
        call(
            libc::SYS_readlinkat,
            [
                word(dir),
                text(name),
                buffer.as_mut_ptr() as usize,
                buffer.len(),
                0,
                0,
            ],
        )
    }?;
    if length >= buffer.len() {
        return Err(libc::ENAMETOOLONG);
    }
    Ok(&buffer[..length])
}

/// Changes owner, and group unless `None`.
pub(crate) fn fchown(fd: RawFd, uid: u32, gid: Option<u32>) -> Sys<()> {
    let gid = gid.unwrap_or(u32::MAX) as usize;
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_fchown, [word(fd), uid as usize, gid, 0, 0, 0]) }.map(drop)
}

pub(crate) fn fchownat(dir: RawFd, name: &CStr, uid: u32, gid: u32) -> Sys<()> {
    // SAFETY: the name ends in NUL.
    unsafe {
        call(
            libc::SYS_fchownat,
            [
                word(dir),
                text(name),
                uid as usize,
                gid as usize,
                libc::AT_SYMLINK_NOFOLLOW as usize,
                0,
            ],
        )
    }
    .map(drop)
}

pub(crate) fn fchdir(fd: RawFd) -> Sys<()> {
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_fchdir, [word(fd), 0, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn umask(mask: u32) {
    // SAFETY: touches no memory and cannot fail.
    let _ = unsafe { call(libc::SYS_umask, [mask as usize, 0, 0, 0, 0, 0]) };
}

/// What fstat says of a descriptor.
pub(crate) fn fstat(fd: RawFd) -> Sys<libc::stat> {
    // SAFETY: a zeroed stat is valid, and fstat fills it.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        if libc::fstat(fd, &mut stat) < 0 {
            return Err(errno());
        }
        Ok(stat)
    }
}

/// Reads at a place of a file.
pub(crate) fn read_at(fd: RawFd, buffer: &mut [u8], at: u64) -> Sys<usize> {
    // SAFETY: writes at most the slice.
    unsafe {
        call(
            libc::SYS_pread64,
            [
                word(fd),
                buffer.as_mut_ptr() as usize,
                buffer.len(),
                at as usize,
                0,
                0,
            ],
        )
    }
}

/// Whether this process may run the file, as far as its mode and its mount say.
pub(crate) fn may_execute(path: &CStr) -> bool {
    let dir = word(libc::AT_FDCWD);
    // SAFETY: the path ends in NUL.
    unsafe {
        call(
            libc::SYS_faccessat,
            [dir, text(path), libc::X_OK as usize, 0, 0, 0],
        )
    }
    .is_ok()
}

/// The file type alone, as in `S_IFMT`.
pub(crate) fn file_type(fd: RawFd) -> Sys<u32> {
    fstat(fd).map(|stat| stat.st_mode & libc::S_IFMT)
}

pub(crate) fn eventfd() -> Sys<RawFd> {
    let flags = (libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) as usize;
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_eventfd2, [0, flags, 0, 0, 0, 0]) }.map(small)
}

/// An inotify descriptor that reports changes of one file.
pub(crate) fn watch_modified(path: &CStr) -> Sys<RawFd> {
    let flags = (libc::IN_CLOEXEC | libc::IN_NONBLOCK) as usize;
    // SAFETY: the path ends in NUL.
    unsafe {
        let fd = small(call(libc::SYS_inotify_init1, [flags, 0, 0, 0, 0, 0])?);
        call(
            libc::SYS_inotify_add_watch,
            [word(fd), text(path), libc::IN_MODIFY as usize, 0, 0, 0],
        )
        .inspect_err(|_| close(fd))?;
        Ok(fd)
    }
}

/// One bpf(2) call on an attribute block.
pub(crate) fn bpf(command: u32, attributes: &mut [u64]) -> Sys<usize> {
    // SAFETY: the kernel reads and writes at most the size named; pointers inside are the
    // caller's, alive during the call.
    unsafe {
        call(
            libc::SYS_bpf,
            [
                command as usize,
                attributes.as_mut_ptr() as usize,
                size_of_val(attributes),
                0,
                0,
                0,
            ],
        )
    }
}
