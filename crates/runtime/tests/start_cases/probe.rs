//! Inside a container: makes every system call with worthless arguments and tells what came back.

use std::ffi::OsString;

/// Calls that would end, suspend or split the process that makes them.
const SKIPPED: [i64; 5] = [15, 56, 57, 58, 435];
/// One past the last number made.
const NUMBERS: i64 = 475;

/// `calls`: one line a call, number and errno. `watch`: what is seen of other processes.
/// `exchange`: a folder and a link changing places. `escapes`: ways to the host, and what answered.
pub(crate) fn main(args: &[OsString]) {
    match args.first().and_then(|arg| arg.to_str()) {
        Some("calls") => calls(),
        Some("watch") => watch(),
        Some("exchange") => exchange(),
        Some("escapes") => escapes(),
        other => panic!("no probe {other:?}"),
    }
}

fn calls() {
    for number in (0..NUMBERS).filter(|number| !SKIPPED.contains(number)) {
        println!("{number} {}", verdict(number, [-1; 4]));
    }
    // Arguments that a profile looks at: families, personae.
    for family in [1, 2, 16, 37, 38, 39, 40, 41, 200] {
        println!("socket {family} {}", verdict(41, [family, -1, 0, 0]));
    }
    for persona in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff, 0x4_0000, 1] {
        println!("personality {persona} {}", verdict(135, [persona, 0, 0, 0]));
    }
    for flags in [0x1000_0000, 0x2_0000, 0x4000_0000, 0x0400_0000, 0x0200_0000] {
        println!("clone {flags:#x} {}", verdict(56, [flags | 17, 0, 0, 0]));
    }
}

/// Makes one call in a child: the errno, 0, or how the child was ended.
fn verdict(number: i64, a: [i64; 4]) -> String {
    // SAFETY: this process has one thread; the child makes one call that can harm itself alone, and
    // ends without returning.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(1);
            let answer = libc::syscall(number, a[0], a[1], a[2], a[3], -1i64, -1i64);
            let errno = if answer < 0 {
                *libc::__errno_location()
            } else {
                0
            };
            libc::_exit(errno & 0xff);
        }
        let mut status = 0;
        libc::waitpid(child, &mut status, 0);
        if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status).to_string()
        } else {
            format!("signal {}", libc::WTERMSIG(status))
        }
    }
}

/// Looks at every process of this namespace until /tmp/stop exists, and tells how many were seen, how
/// many with more than this process's own capabilities, and how many whose program could be written.
fn watch() {
    use std::fs;
    let capabilities = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("CapPrm:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let own = capabilities("self").expect("own status");
    let (mut seen, mut strong, mut written) = (0u64, 0u64, 0u64);
    fs::write("/tmp/ready", "").expect("a sign of life");
    while fs::metadata("/tmp/stop").is_err() {
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "1" || name.parse::<u32>().is_err() {
                continue;
            }
            let Some(theirs) = capabilities(&name) else {
                continue;
            };
            seen += 1;
            strong += u64::from(theirs & !own != 0);
            written += u64::from(overwrite(&name));
        }
    }
    println!("{seen} {strong} {written}");
}

/// Writes to the program of a process that does not run one of the image's.
fn overwrite(pid: &str) -> bool {
    use std::io::Write;
    let exe = format!("/proc/{pid}/exe");
    let foreign = std::fs::read_link(&exe).is_ok_and(|path| !path.exists());
    let file = std::fs::OpenOptions::new().write(true).open(&exe);
    foreign && file.is_ok_and(|mut file| file.write_all(b"x").is_ok())
}

/// Exchanges /data/sub with a link to /etc, for ever.
fn exchange() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let _ = std::os::unix::fs::symlink("/etc", "/data/link");
    loop {
        let _ = renameat_with(CWD, "/data/sub", CWD, "/data/link", RenameFlags::EXCHANGE);
    }
}

/// Tries what would reach the host's kernel or clock, and prints what succeeded.
fn escapes() {
    use std::fs;
    for path in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hotplug",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/sys/kernel/mm/ksm/run",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/memory/notify_on_release",
        "/sys/fs/cgroup/memory/cgroup.procs",
        "/sys/fs/cgroup/devices/devices.allow",
    ] {
        if fs::OpenOptions::new().write(true).open(path).is_ok() {
            println!("opened {path}");
        }
    }
    let flags = |bits: i32| i64::from(bits);
    for (name, number, arguments) in [
        (
            "unshare user",
            libc::SYS_unshare,
            [flags(libc::CLONE_NEWUSER), 0, 0, 0],
        ),
        (
            "unshare mount",
            libc::SYS_unshare,
            [flags(libc::CLONE_NEWNS), 0, 0, 0],
        ),
        (
            "clone user",
            libc::SYS_clone,
            [flags(libc::CLONE_NEWUSER) | 17, 0, 0, 0],
        ),
        (
            "remount proc",
            libc::SYS_mount,
            [0, c"/proc".as_ptr() as i64, 0, 0x20],
        ),
        ("keyctl", libc::SYS_keyctl, [0, -3, 1, 0]),
        ("vsock", libc::SYS_socket, [40, 1, 0, 0]),
        ("alg", libc::SYS_socket, [38, 5, 0, 0]),
        (
            "set time",
            libc::SYS_clock_settime,
            [0, [0i64, 0].as_ptr() as i64, 0, 0],
        ),
        ("reboot", libc::SYS_reboot, [0, 0, 0, 0]),
        (
            "module",
            libc::SYS_finit_module,
            [0, c"".as_ptr() as i64, 0, 0],
        ),
        ("swap", libc::SYS_swapoff, [c"/x".as_ptr() as i64, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, 0, 0, 0]),
        ("perf", libc::SYS_perf_event_open, [0, 0, 0, 0]),
        ("handle", libc::SYS_open_by_handle_at, [0, 0, 0, 0]),
        ("io_uring", libc::SYS_io_uring_setup, [1, 0, 0, 0]),
        // The upper half of the numbers is the other calling convention, which has rules of its own.
        (
            "socket by x32",
            libc::SYS_socket | 0x4000_0000,
            [38, 5, 0, 0],
        ),
    ] {
        let answer = verdict(number, arguments);
        let refused = [libc::EPERM, libc::ENOSYS].map(|errno| errno.to_string());
        if !refused.contains(&answer) {
            println!("{name}: {answer}");
        }
    }
    let answer = getpid_of_32_bits();
    if answer >= 0 {
        println!("32-bit calls are made: {answer}");
    }
    println!("done");
}

/// The old gate of 32-bit programs, whose numbers mean other calls. Nothing of it is let through.
fn getpid_of_32_bits() -> i64 {
    let mut answer: i64 = 20;
    // SAFETY: getpid takes no argument and writes nothing; the gate may change the registers named.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") answer, lateout("r8") _, lateout("r9") _,
            lateout("r10") _, lateout("r11") _);
    }
    // The gate answers in 32 bits.
    i64::from(answer as i32)
}
