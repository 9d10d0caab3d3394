//! Inside a container: makes every system call with worthless arguments and tells what came back.

use std::ffi::OsString;

/// Calls that would end, suspend or split the process that makes them.
const SKIPPED: [i64; 5] = [15, 56, 57, 58, 435];
/// One past the last number made.
const NUMBERS: i64 = 475;

/// `calls`: one line a call, number and errno. `watch`: what is seen of other processes.
pub(crate) fn main(args: &[OsString]) {
    match args.first().and_then(|arg| arg.to_str()) {
        Some("calls") => calls(),
        Some("watch") => watch(),
        Some("exchange") => exchange(),
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

/// Looks at every process of this namespace until /tmp/stop exists, and tells how many were seen, and
/// how many with more than this process's own capabilities or with memory that could be written.
fn watch() {
    use std::fs;
    let capabilities = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("CapPrm:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let own = capabilities("self").expect("own status");
    let (mut seen, mut strong) = (0u64, 0u64);
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
        }
    }
    println!("{seen} {strong}");
}

/// Exchanges /data/sub with a link to /etc, for ever.
fn exchange() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let _ = std::os::unix::fs::symlink("/etc", "/data/link");
    loop {
        let _ = renameat_with(CWD, "/data/sub", CWD, "/data/link", RenameFlags::EXCHANGE);
    }
}
