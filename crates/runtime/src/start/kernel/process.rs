//! Processes: making, limiting, replacing, signalling and reaping them.

use std::ffi::CStr;
use std::os::fd::RawFd;

use super::{Sys, call, errno, small, text, word};

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

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
    use super::super::close;
    use super::*;

    #[test]
    fn a_clone_runs_the_closure_and_is_reaped() {
        let (pid, pidfd) = spawn(0, None, &|| exit(0)).unwrap();
        assert!(pid > 0);
        reap(pidfd);
        assert_eq!(pidfd_signal(pidfd, 0), Err(libc::ESRCH));
        close(pidfd);
    }
}
