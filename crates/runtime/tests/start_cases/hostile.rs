//! Images that set traps: links, FIFOs and devices where the runtime looks or mounts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::Case;
use crate::bed::Bed;
use windlass_runtime::spec::{ContainerSpec, Mount, MountKind};

pub(crate) const CASES: &[Case] = &[
    ("hostile_roots", hostile_roots),
    ("interpreter", interpreter),
    ("a_changing_volume", a_changing_volume),
];

struct Trap {
    name: &'static str,
    /// Fills the upper layer; the second path is a host folder that must stay as it is.
    set: fn(&Path, &Path),
    change: fn(&mut ContainerSpec),
    /// The refusal, or the output.
    want: Result<&'static str, i32>,
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
}

fn node(path: &Path, major: u32, minor: u32) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o644),
        rustix::fs::makedev(major, minor),
    )
    .unwrap();
}

fn volume(spec: &mut ContainerSpec, target: &str) {
    spec.mounts = vec![Mount {
        target: target.into(),
        kind: MountKind::Tmpfs {
            size_bytes: 65536,
            options: Vec::new(),
        },
        readonly: false,
    }];
}

fn file(spec: &mut ContainerSpec, target: &str) {
    spec.mounts = vec![Mount {
        target: target.into(),
        kind: MountKind::Bind {
            source: "/etc/hostname".into(),
        },
        readonly: true,
    }];
}

fn script(spec: &mut ContainerSpec, script: &str) {
    spec.process.args[2] = script.into();
}

const TRAPS: &[Trap] = &[
    Trap {
        name: "proc is a link",
        set: |i, _| symlink("/etc", i.join("proc")).unwrap(),
        change: |_| {},
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "proc is a link up",
        set: |i, _| symlink("../../../etc", i.join("proc")).unwrap(),
        change: |_| {},
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "sys is a link",
        set: |i, _| symlink("/tmp", i.join("sys")).unwrap(),
        change: |_| {},
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "dev is a link to the host",
        set: |i, h| symlink(h, i.join("dev")).unwrap(),
        change: |_| {},
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "proc is a FIFO",
        set: |i, _| fifo(&i.join("proc")),
        change: |_| {},
        want: Err(libc::ENOTDIR),
    },
    Trap {
        name: "dev is a device",
        set: |i, _| node(&i.join("dev"), 1, 3),
        change: |_| {},
        want: Err(libc::ENOTDIR),
    },
    Trap {
        name: "sys is a file",
        set: |i, _| fs::write(i.join("sys"), "").unwrap(),
        change: |_| {},
        want: Err(libc::ENOTDIR),
    },
    Trap {
        name: "dev/null leads to core_pattern",
        set: |i, _| {
            fs::create_dir(i.join("dev")).unwrap();
            symlink("/proc/sys/kernel/core_pattern", i.join("dev/null")).unwrap();
            symlink("/proc/sysrq-trigger", i.join("dev/console")).unwrap();
        },
        change: |s| {
            script(
                s,
                "stat -c %t:%T /dev/null; test -e /dev/console || echo none",
            )
        },
        want: Ok("1:3\nnone\n"),
    },
    Trap {
        name: "volume through a link to etc",
        set: |i, _| symlink("/etc", i.join("v")).unwrap(),
        change: |s| {
            volume(s, "/v/inner");
            script(s, "grep -c ' /etc/inner ' /proc/mounts")
        },
        want: Ok("1\n"),
    },
    Trap {
        name: "volume through a link up",
        set: |i, h| symlink(format!("../../../../..{}", h.display()), i.join("v")).unwrap(),
        change: |s| {
            volume(s, "/v/new");
            script(s, "grep -c /new /proc/mounts")
        },
        want: Ok("1\n"),
    },
    Trap {
        name: "volume to proc/self/root",
        set: |i, _| symlink("/proc/self/root", i.join("v")).unwrap(),
        change: |s| volume(s, "/v/x"),
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "volume to proc/self/fd",
        set: |i, _| symlink("/proc/self/fd/5", i.join("v")).unwrap(),
        change: |s| volume(s, "/v"),
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "volume to proc/sys",
        set: |i, _| symlink("/proc/sys", i.join("v")).unwrap(),
        change: |s| volume(s, "/v"),
        want: Err(libc::EPERM),
    },
    Trap {
        name: "volume to cgroups",
        set: |i, _| symlink("/sys/fs/cgroup", i.join("v")).unwrap(),
        // One hierarchy of v1, or all of v2.
        change: |s| match Path::new("/sys/fs/cgroup/memory").exists() {
            true => volume(s, "/v/memory"),
            false => volume(s, "/v"),
        },
        want: Err(libc::EPERM),
    },
    Trap {
        name: "hosts to proc/self/attr",
        set: |i, _| {
            fs::create_dir(i.join("etc")).unwrap();
            symlink("/proc/self/attr/exec", i.join("etc/hosts")).unwrap();
        },
        change: |s| file(s, "/etc/hosts"),
        want: Err(libc::EPERM),
    },
    Trap {
        name: "hosts is a FIFO",
        set: |i, _| {
            fs::create_dir(i.join("etc")).unwrap();
            fifo(&i.join("etc/hosts"));
        },
        change: |s| {
            file(s, "/etc/hosts");
            script(s, "grep -c ' /etc/hosts ' /proc/mounts")
        },
        want: Ok("1\n"),
    },
    Trap {
        name: "hosts is a folder",
        set: |i, _| fs::create_dir_all(i.join("etc/hosts")).unwrap(),
        change: |s| file(s, "/etc/hosts"),
        want: Err(libc::EISDIR),
    },
    Trap {
        name: "hosts dangles",
        set: |i, _| {
            fs::create_dir(i.join("etc")).unwrap();
            symlink("../run/made/hosts", i.join("etc/hosts")).unwrap();
        },
        change: |s| {
            file(s, "/etc/hosts");
            script(s, "grep -c ' /run/made/hosts ' /proc/mounts")
        },
        want: Ok("1\n"),
    },
    Trap {
        name: "a loop",
        set: |i, _| symlink("v", i.join("v")).unwrap(),
        change: |s| volume(s, "/v/x"),
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "passwd is a FIFO",
        set: |i, _| {
            fs::create_dir(i.join("etc")).unwrap();
            fifo(&i.join("etc/passwd"));
        },
        change: |s| s.process.user = "web".into(),
        want: Err(libc::ENOENT),
    },
    Trap {
        name: "passwd is endless",
        set: |i, _| {
            fs::create_dir(i.join("etc")).unwrap();
            node(&i.join("etc/passwd"), 1, 5);
        },
        change: |s| s.process.user = "web".into(),
        want: Err(libc::ENOENT),
    },
    Trap {
        name: "passwd is huge",
        set: |i, _| {
            fs::create_dir(i.join("etc")).unwrap();
            fs::File::create(i.join("etc/passwd"))
                .unwrap()
                .set_len(4 << 30)
                .unwrap();
        },
        change: |s| s.process.user = "web".into(),
        want: Err(libc::EFBIG),
    },
    Trap {
        name: "passwd of the host",
        set: |i, _| {
            fs::create_dir(i.join("etc")).unwrap();
            symlink("../../../../etc/passwd", i.join("etc/passwd")).unwrap();
        },
        change: |s| s.process.user = "daemon".into(),
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "cwd is a descriptor",
        set: |_, _| {},
        change: |s| s.process.cwd = "/proc/self/fd/3".into(),
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "cwd is a high descriptor",
        set: |_, _| {},
        change: |s| s.process.cwd = "/proc/self/fd/9/../..".into(),
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "cwd is a link to a root",
        set: |i, _| symlink("/proc/1/root", i.join("w")).unwrap(),
        change: |s| s.process.cwd = "/w/x".into(),
        want: Err(libc::ELOOP),
    },
    Trap {
        name: "cwd goes up",
        set: |_, _| {},
        change: |s| {
            s.process.cwd = "/../../made/here".into();
            script(s, "pwd")
        },
        want: Ok("/made/here\n"),
    },
];

fn listing(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn hostile_roots() {
    let mut bed = Bed::new();
    let host = bed.folder.join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("ptmx"), "canary").unwrap();
    let watched = ["/etc", "/dev", "/tmp", "/run", "/"].map(Path::new);
    let before: Vec<_> = watched.iter().map(|path| listing(path)).collect();
    let core = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for (number, trap) in TRAPS.iter().enumerate() {
        let image = bed.folder.join(format!("trap{number}"));
        fs::create_dir(&image).unwrap();
        (trap.set)(&image, &host);
        let mut spec = bed.spec("echo ran");
        crate::bed::lower(&mut spec).insert(0, image.display().to_string());
        (trap.change)(&mut spec);
        let got = bed.run(&spec);
        match (trap.want, got) {
            (Err(errno), Err(error)) => assert!(
                error.errno == errno
                    // A link of the host's passwd leads nowhere, or to the image's own.
                    || errno == libc::ELOOP && error.errno == libc::ENOENT && error.stage != "exec",
                "{}: {error}",
                trap.name
            ),
            (Ok(want), Ok((_, text))) => assert_eq!(text, want, "{}", trap.name),
            (_, got) => panic!("{}: {got:?}", trap.name),
        }
        assert_eq!(listing(&host), ["ptmx"], "{}", trap.name);
    }
    for (path, before) in watched.iter().zip(before) {
        // Others use the machine too: only what a trap names must not have come.
        let now = listing(path);
        let new: Vec<_> = now.iter().filter(|name| !before.contains(name)).collect();
        for name in ["inner", "new", "made", "hosts", "here", "pts", "shm"] {
            assert!(
                !new.iter().any(|n| *n == name),
                "{name} in {}",
                path.display()
            );
        }
    }
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(),
        core
    );
    assert_eq!(fs::read_to_string(host.join("ptmx")).unwrap(), "canary");
}

/// A script whose interpreter is the program that starts it gets our program in the container: it
/// must run as nothing.
fn interpreter() {
    let mut bed = Bed::new();
    let script = bed.base().join("opt-self");
    fs::write(&script, "#!/proc/self/exe\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    let before = fs::metadata("/proc/self/exe").unwrap();
    let mut spec = bed.spec("");
    spec.process.args = vec!["/opt-self".into()];
    spec.init = true;
    let _ = bed.run(&spec);
    let after = fs::metadata("/proc/self/exe").unwrap();
    assert_eq!(before.permissions(), after.permissions());
}

/// A running container keeps exchanging a folder of a shared volume for a link, while others start
/// with a volume inside that folder. Each start is refused, or has its mount where it belongs.
fn a_changing_volume() {
    let mut bed = Bed::new();
    let data = bed.folder.join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    let share = Mount {
        target: "/data".into(),
        kind: MountKind::Bind {
            source: data.display().to_string(),
        },
        readonly: false,
    };
    let mut racer = bed.spec("");
    racer.process.args = crate::bed::process(&["/probe", "probe", "exchange"]).args;
    racer.mounts = vec![share.clone()];
    let running = bed.start(&racer);
    let (mut good, mut refused) = (0, 0);
    for _ in 0..60 {
        let mut spec = bed.spec("awk '$3 == \"tmpfs\" {print $2}' /proc/mounts; ls /etc | wc -l");
        volume(&mut spec, "/data/sub/inner");
        spec.mounts.push(share.clone());
        match bed.run(&spec) {
            Ok((_, text)) => {
                // The racer may move the mount within the volume, but not out of it.
                assert!(!text.contains("/etc"), "{text}");
                assert!(text.ends_with("\n2\n"), "{text}");
                good += 1;
            }
            Err(error) => {
                assert_eq!(error.stage, "mount", "{error}");
                refused += 1;
            }
        }
    }
    bed.stop(&running);
    assert_eq!(good + refused, 60);
    assert!(refused > 0, "the racer never met a start");
}
