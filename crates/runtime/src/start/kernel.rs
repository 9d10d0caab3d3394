//! The system calls of the start sequence, each in the least code that makes it safe to call.
//!
//! Scope: everything here is usable between clone and execve: no allocation, no lock, no state of
//! the C library beyond `errno`. Descriptors are plain numbers for that reason; the side that
//! outlives the call wraps them in `OwnedFd`. Not here: any decision.
//!
//! Every argument is widened to a register before the variadic `syscall`, so that a static C
//! library never passes on garbage upper halves.

use std::ffi::CStr;
use std::os::fd::RawFd;

/// A kernel's answer: a value, or the errno.
pub(crate) type Sys<T> = Result<T, i32>;

pub(crate) const EMPTY: &CStr = c"";
pub(crate) const RESOLVE_NO_XDEV: u64 = 0x01;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub(crate) const RESOLVE_BENEATH: u64 = 0x08;
pub(crate) const RESOLVE_IN_ROOT: u64 = 0x10;
pub(crate) const ATTR_RDONLY: u64 = 0x01;
pub(crate) const ATTR_NOSUID: u64 = 0x02;
pub(crate) const ATTR_NODEV: u64 = 0x04;
pub(crate) const ATTR_NOEXEC: u64 = 0x08;
pub(crate) const ATTR_NOATIME: u64 = 0x10;
pub(crate) const ATTR_STRICTATIME: u64 = 0x20;
pub(crate) const ATTR_NODIRATIME: u64 = 0x80;
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

pub(crate) const PROC_MAGIC: i64 = 0x9fa0;
pub(crate) const SYSFS_MAGIC: i64 = 0x6265_6572;
pub(crate) const CGROUP_MAGIC: i64 = 0x27_e0eb;
pub(crate) const CGROUP2_MAGIC: i64 = 0x6367_7270;
pub(crate) const DEVPTS_MAGIC: i64 = 0x1cd1;
pub(crate) const TMPFS_MAGIC: i64 = 0x0102_1994;
pub(crate) const NSFS_MAGIC: i64 = 0x6e73_6673;

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

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Clones this process, fork-like, and runs `child` in the copy with every signal blocked. The
/// answer is `(pid, pidfd)`. `cgroup` is a v2 folder the copy is born in.
///
/// The caller must be single-threaded, else a lock held by another thread stays held in the copy.
pub(crate) fn spawn(
    flags: u64,
    cgroup: Option<RawFd>,
    child: &dyn Fn() -> std::convert::Infallible,
) -> Sys<(i32, RawFd)> {
    let mut pidfd: RawFd = -1;
    // With CLONE_PARENT the signal is inherited, and naming one is an error.
    let exit_signal = if flags & libc::CLONE_PARENT as u64 != 0 {
        0
    } else {
        libc::SIGCHLD as u64
    };
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal,
        ..CloneArgs::default()
    };
    let mut size = 64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup as u64;
        size = size_of::<CloneArgs>();
    }
    let old = set_signal_mask(!0)?;
    // SAFETY: no CLONE_VM: the copy has its own memory, and `args` outlives the call. The copy
    // never returns from `child`.
    let answer = unsafe {
        call(
            libc::SYS_clone3,
            [(&raw mut args) as usize, size, 0, 0, 0, 0],
        )
    };
    if answer == Ok(0) {
        child();
    }
    let _ = set_signal_mask(old);
    answer.map(|pid| (small(pid), pidfd))
}

/// Plain clone(2), which a container's seccomp filter lets pass where clone3 is refused. `None` is
/// the copy.
pub(crate) fn clone_sibling() -> Sys<Option<RawFd>> {
    let mut pidfd: RawFd = -1;
    let flags = (libc::CLONE_PARENT | libc::CLONE_PIDFD) as usize;
    // SAFETY: fork-like, own memory, no new stack; the kernel writes the descriptor to `pidfd`.
    let pid = unsafe {
        call(
            libc::SYS_clone,
            [flags, 0, (&raw mut pidfd) as usize, 0, 0, 0],
        )
    }?;
    Ok((pid != 0).then_some(pidfd))
}

/// fork(2) of the C library, whose copy may allocate. 0 is the copy.
pub(crate) fn fork() -> Sys<i32> {
    // SAFETY: the caller is single-threaded, so the copy's C library state is whole.
    match unsafe { libc::fork() } {
        -1 => Err(errno()),
        pid => Ok(pid),
    }
}

pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: ends the process without running anything of the C library.
    unsafe { libc::_exit(code) }
}

/// Sets the signal mask, bit n for signal n+1, and answers the old one.
pub(crate) fn set_signal_mask(mask: u64) -> Sys<u64> {
    let mut old = 0u64;
    // SAFETY: both pointers are to 8 bytes, the size named.
    unsafe {
        call(
            libc::SYS_rt_sigprocmask,
            [
                libc::SIG_SETMASK as usize,
                (&raw const mask) as usize,
                (&raw mut old) as usize,
                8,
                0,
                0,
            ],
        )
    }?;
    Ok(old)
}

/// Every signal back to its default: ignored ones too, which execve would keep.
pub(crate) fn reset_signals() {
    let default = [0u64; 4];
    for signal in 1..=64usize {
        if signal == libc::SIGKILL as usize || signal == libc::SIGSTOP as usize {
            continue;
        }
        // SAFETY: a zeroed kernel sigaction is SIG_DFL with no flags; 8 is the mask's size.
        let _ = unsafe {
            call(
                libc::SYS_rt_sigaction,
                [signal, default.as_ptr() as usize, 0, 8, 0, 0],
            )
        };
    }
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

/// The file type alone, as in `S_IFMT`.
pub(crate) fn file_type(fd: RawFd) -> Sys<u32> {
    fstat(fd).map(|stat| stat.st_mode & libc::S_IFMT)
}

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

pub(crate) fn setns(fd: RawFd, kinds: i32) -> Sys<()> {
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_setns, [word(fd), kinds as usize, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn unshare(kinds: i32) -> Sys<()> {
    // SAFETY: only namespaces are unshared, no memory.
    unsafe { call(libc::SYS_unshare, [kinds as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn sethostname(name: &CStr) -> Sys<()> {
    // SAFETY: reads exactly the name's bytes.
    unsafe {
        call(
            libc::SYS_sethostname,
            [text(name), name.to_bytes().len(), 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// prctl with numbers only.
pub(crate) fn prctl(option: i32, value: u64) -> Sys<usize> {
    // SAFETY: only options that take numbers are passed.
    unsafe {
        call(
            libc::SYS_prctl,
            [option as usize, value as usize, 0, 0, 0, 0],
        )
    }
}

/// `hdr` and `data` as capset takes them, version 3.
pub(crate) fn capset(permitted: u64, effective: u64, inheritable: u64) -> Sys<()> {
    let header = [0x2008_0522u32, 0];
    let low = |set: u64| set as u32;
    let high = |set: u64| (set >> 32) as u32;
    let data = [
        low(effective),
        low(permitted),
        low(inheritable),
        high(effective),
        high(permitted),
        high(inheritable),
    ];
    // SAFETY: version 3 reads a two-word header and six words of data.
    unsafe {
        call(
            libc::SYS_capset,
            [header.as_ptr() as usize, data.as_ptr() as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

pub(crate) fn setgroups(groups: &[u32]) -> Sys<()> {
    // SAFETY: reads exactly the slice.
    unsafe {
        call(
            libc::SYS_setgroups,
            [groups.len(), groups.as_ptr() as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

pub(crate) fn setresgid(gid: u32) -> Sys<()> {
    let gid = gid as usize;
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_setresgid, [gid, gid, gid, 0, 0, 0]) }.map(drop)
}

pub(crate) fn setresuid(uid: u32) -> Sys<()> {
    let uid = uid as usize;
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_setresuid, [uid, uid, uid, 0, 0, 0]) }.map(drop)
}

pub(crate) fn setrlimit(resource: u32, soft: u64, hard: u64) -> Sys<()> {
    let limit = [soft, hard];
    // SAFETY: reads two words; no old value is asked for.
    unsafe {
        call(
            libc::SYS_prlimit64,
            [0, resource as usize, limit.as_ptr() as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

pub(crate) fn setsid() -> Sys<()> {
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_setsid, [0; 6]) }.map(drop)
}

/// A fresh anonymous session keyring; absent support is no error.
pub(crate) fn join_new_keyring() {
    // SAFETY: KEYCTL_JOIN_SESSION_KEYRING (1) with no name.
    let _ = unsafe { call(libc::SYS_keyctl, [1, 0, 0, 0, 0, 0]) };
}

/// Installs a seccomp filter. Without no_new_privileges this needs CAP_SYS_ADMIN.
pub(crate) fn seccomp(filter: &[libc::sock_filter]) -> Sys<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| libc::E2BIG)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: SECCOMP_SET_MODE_FILTER (1) reads the program, which outlives the call.
    unsafe {
        call(
            libc::SYS_seccomp,
            [1, 0, (&raw const program) as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Replaces this process. `argv` and `envp` end in null and point to strings ending in NUL.
///
/// # Safety
/// The arrays and their strings must be alive.
pub(crate) unsafe fn execveat(
    dir: RawFd,
    path: &CStr,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
) -> i32 {
    let flags = if path.is_empty() {
        libc::AT_EMPTY_PATH as usize
    } else {
        0
    };
    // SAFETY: the caller vouches for the arrays; the path ends in NUL.
    match unsafe {
        call(
            libc::SYS_execveat,
            [
                word(dir),
                text(path),
                argv as usize,
                envp as usize,
                flags,
                0,
            ],
        )
    } {
        Err(errno) => errno,
        Ok(_) => libc::EINVAL,
    }
}

/// Unlocks the other end of a terminal and opens it without a path.
pub(crate) fn open_pty_peer(master: RawFd) -> Sys<RawFd> {
    let unlocked = 0i32;
    // SAFETY: TIOCSPTLCK reads one int; TIOCGPTPEER takes open flags.
    unsafe {
        call(
            libc::SYS_ioctl,
            [
                word(master),
                0x4004_5431,
                (&raw const unlocked) as usize,
                0,
                0,
                0,
            ],
        )?;
        call(
            libc::SYS_ioctl,
            [
                word(master),
                0x5441,
                (libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) as usize,
                0,
                0,
                0,
            ],
        )
    }
    .map(small)
}

pub(crate) fn take_terminal(fd: RawFd) -> Sys<()> {
    // SAFETY: TIOCSCTTY takes a number.
    unsafe {
        call(
            libc::SYS_ioctl,
            [word(fd), libc::TIOCSCTTY as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Makes this process a group of its own, and that the terminal's foreground one. SIGTTOU must be
/// blocked.
pub(crate) fn lead_foreground() {
    // SAFETY: setpgid touches no memory; TIOCSPGRP reads one int. Without a terminal it fails.
    unsafe {
        let _ = call(libc::SYS_setpgid, [0; 6]);
        let group = libc::getpid();
        let _ = call(
            libc::SYS_ioctl,
            [
                0,
                libc::TIOCSPGRP as usize,
                (&raw const group) as usize,
                0,
                0,
                0,
            ],
        );
    }
}

/// Brings the loopback interface of the current network namespace up.
pub(crate) fn loopback_up() -> Sys<()> {
    // SAFETY: the request is a zeroed ifreq with a name and flags; SIOCSIFFLAGS reads it.
    unsafe {
        let socket = small(call(
            libc::SYS_socket,
            [
                libc::AF_INET as usize,
                (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as usize,
                0,
                0,
                0,
                0,
            ],
        )?);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        let answer = call(
            libc::SYS_ioctl,
            [
                word(socket),
                libc::SIOCSIFFLAGS as usize,
                (&raw const request) as usize,
                0,
                0,
                0,
            ],
        );
        close(socket);
        answer.map(drop)
    }
}

/// A close-on-exec pair of sockets of the given kind (`SOCK_SEQPACKET`, `SOCK_STREAM`).
pub(crate) fn socketpair(kind: i32) -> Sys<[RawFd; 2]> {
    let mut pair = [-1; 2];
    // SAFETY: the kernel writes two descriptors.
    unsafe {
        call(
            libc::SYS_socketpair,
            [
                libc::AF_UNIX as usize,
                (kind | libc::SOCK_CLOEXEC) as usize,
                0,
                pair.as_mut_ptr() as usize,
                0,
                0,
            ],
        )
    }?;
    Ok(pair)
}

/// Most descriptors one message carries here.
pub(crate) const MESSAGE_FDS_MAX: usize = 8;

/// Sends bytes and descriptors (at most [`MESSAGE_FDS_MAX`]).
pub(crate) fn send(socket: RawFd, bytes: &[u8], fds: &[RawFd]) -> Sys<usize> {
    if fds.len() > MESSAGE_FDS_MAX {
        return Err(libc::EINVAL);
    }
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = [0u64; 2 + MESSAGE_FDS_MAX / 2];
    // SAFETY: the control buffer is aligned and large enough for a header and eight descriptors;
    // the kernel only reads what the header names.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        if !fds.is_empty() {
            let length = size_of_val(fds) as u32;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(length) as usize;
            let cmsg = libc::CMSG_FIRSTHDR(&header);
            (*cmsg).cmsg_level = libc::SOL_SOCKET;
            (*cmsg).cmsg_type = libc::SCM_RIGHTS;
            (*cmsg).cmsg_len = libc::CMSG_LEN(length) as usize;
            std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(cmsg).cast(), fds.len());
        }
        call(
            libc::SYS_sendmsg,
            [
                word(socket),
                (&raw const header) as usize,
                libc::MSG_NOSIGNAL as usize,
                0,
                0,
                0,
            ],
        )
    }
}

/// Receives bytes and descriptors: `(bytes, descriptors)`; 0 bytes is the end.
pub(crate) fn receive(
    socket: RawFd,
    bytes: &mut [u8],
    fds: &mut [RawFd; MESSAGE_FDS_MAX],
) -> Sys<(usize, usize)> {
    let mut vector = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut control = [0u64; 2 + MESSAGE_FDS_MAX / 2];
    // SAFETY: the kernel writes at most the buffers' lengths; the header's own macros walk it, and
    // the count is bounded by the array.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        let length = loop {
            match call(
                libc::SYS_recvmsg,
                [
                    word(socket),
                    (&raw mut header) as usize,
                    libc::MSG_CMSG_CLOEXEC as usize,
                    0,
                    0,
                    0,
                ],
            ) {
                Err(libc::EINTR) => {}
                answer => break answer?,
            }
        };
        let mut count = 0;
        let cmsg = libc::CMSG_FIRSTHDR(&header);
        if !cmsg.is_null() && (*cmsg).cmsg_type == libc::SCM_RIGHTS {
            let size = ((*cmsg).cmsg_len).saturating_sub(libc::CMSG_LEN(0) as usize);
            count = (size / size_of::<RawFd>()).min(MESSAGE_FDS_MAX);
            std::ptr::copy_nonoverlapping(libc::CMSG_DATA(cmsg).cast(), fds.as_mut_ptr(), count);
        }
        Ok((length, count))
    }
}

/// Waits for a child's end and reaps it. A child reaped elsewhere is no error.
pub(crate) fn reap(pidfd: RawFd) {
    // SAFETY: a zeroed siginfo is valid, and waitid fills it.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        while let Err(libc::EINTR) = call(
            libc::SYS_waitid,
            [
                libc::P_PIDFD as usize,
                word(pidfd),
                (&raw mut info) as usize,
                libc::WEXITED as usize,
                0,
                0,
            ],
        ) {}
    }
}

pub(crate) fn pidfd_open(pid: i32) -> Sys<RawFd> {
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_pidfd_open, [pid as usize, 0, 0, 0, 0, 0]) }.map(small)
}

/// Sends a signal; 0 only asks whether the process is there, reaped or not.
pub(crate) fn pidfd_signal(pidfd: RawFd, signal: i32) -> Sys<()> {
    // SAFETY: no siginfo is passed.
    unsafe {
        call(
            libc::SYS_pidfd_send_signal,
            [word(pidfd), signal as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

pub(crate) fn kill(pid: i32, signal: i32) -> Sys<()> {
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_kill, [word(pid), signal as usize, 0, 0, 0, 0]) }.map(drop)
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

/// Waits for any blocked signal and takes it.
pub(crate) fn wait_signal() -> Sys<i32> {
    let all = !0u64;
    // SAFETY: reads 8 bytes of mask, the size named; neither info nor timeout is asked for.
    unsafe {
        call(
            libc::SYS_rt_sigtimedwait,
            [(&raw const all) as usize, 0, 0, 8, 0, 0],
        )
    }
    .map(small)
}

/// Reaps one ended child, if there is one: pid and status.
pub(crate) fn reap_any() -> Option<(i32, i32)> {
    let mut status = 0i32;
    // SAFETY: the kernel writes one int.
    let pid = unsafe {
        call(
            libc::SYS_wait4,
            [
                usize::MAX,
                (&raw mut status) as usize,
                libc::WNOHANG as usize,
                0,
                0,
                0,
            ],
        )
    };
    match pid {
        Ok(pid) if pid > 0 => Some((small(pid), status)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_cross_a_socket() {
        let [a, b] = socketpair(libc::SOCK_SEQPACKET).unwrap();
        let null = open(c"/dev/null", libc::O_RDONLY).unwrap();
        assert_eq!(send(a, b"xy", &[null, null, null]), Ok(2));
        let (mut bytes, mut fds) = ([0; 8], [-1; MESSAGE_FDS_MAX]);
        assert_eq!(receive(b, &mut bytes, &mut fds), Ok((2, 3)));
        for fd in [null, fds[0], fds[1], fds[2]] {
            assert_eq!(file_type(fd), Ok(libc::S_IFCHR));
            close(fd);
        }
        close(a);
        assert_eq!(receive(b, &mut bytes, &mut fds), Ok((0, 0)));
        close(b);
    }

    #[test]
    fn a_clone_runs_the_closure_and_is_reaped() {
        let (pid, pidfd) = spawn(0, None, &|| exit(0)).unwrap();
        assert!(pid > 0);
        reap(pidfd);
        assert_eq!(pidfd_signal(pidfd, 0), Err(libc::ESRCH));
        close(pidfd);
    }
}
