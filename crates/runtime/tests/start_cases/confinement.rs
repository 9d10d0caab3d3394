//! What a container may do, seen from inside; and that an exec may do no more.

use std::fs;

use crate::Case;
use crate::bed::{Bed, process};
use windlass_runtime::spec::{
    Device, Limits, Mount, MountKind, Namespace, Network, Process, Rlimit, Seccomp,
};

pub(crate) const CASES: &[Case] = &[
    ("identity_and_privileges", identity_and_privileges),
    ("exec_is_confined_alike", exec_is_confined_alike),
    ("masks_and_devices", masks_and_devices),
    ("privileged", privileged),
    ("limits_are_set", limits_are_set),
    ("volumes", volumes),
    ("read_only_covers_submounts", read_only_covers_submounts),
    ("a_volume_makes_nobody_root", a_volume_makes_nobody_root),
    ("host_namespaces", host_namespaces),
];

const STATUS: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/self/status";

/// The value of a line of /proc/self/status.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
        .unwrap_or_else(|| panic!("{name} in {text}"))
}

fn identity_and_privileges() {
    let mut bed = Bed::new();
    // Not by way of a shell, which ignores signals of its own.
    let mut root = bed.spec("");
    root.process.args = process(&[
        "grep",
        "-E",
        "^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:|SigBlk|SigIgn|SigCgt)",
        "/proc/self/status",
    ])
    .args;
    let text = bed.output(&root);
    for (name, want) in [
        ("Uid", "0\t0\t0\t0"),
        ("Groups", "0"),
        ("CapInh", "0000000000000000"),
        ("CapPrm", "00000000a80425fb"),
        ("CapEff", "00000000a80425fb"),
        ("CapBnd", "00000000a80425fb"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "0"),
        ("Seccomp", "2"),
        ("SigIgn", "0000000000000000"),
    ] {
        assert_eq!(field(&text, name), want, "{name}");
    }
    let mut web = bed.spec(STATUS);
    web.process.user = "web".into();
    web.process.no_new_privileges = true;
    web.process.capabilities = vec!["CHOWN".into()];
    let text = bed.output(&web);
    for (name, want) in [
        ("Uid", "1000\t1000\t1000\t1000"),
        ("Gid", "1001\t1001\t1001\t1001"),
        ("Groups", "44 1001"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000001"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(field(&text, name), want, "{name}");
    }
    let mut open = bed.spec(STATUS);
    open.process.seccomp = Seccomp::Unconfined;
    assert_eq!(field(&bed.output(&open), "Seccomp"), "0");
    // A program its user may not run is refused, whatever the shim could.
    let mut closed = bed.spec("");
    fs::copy("/bin/busybox", bed.base().join("opt-root-only")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(bed.base().join("opt-root-only"), mode).unwrap();
    closed.process.user = "web".into();
    closed.process.args = vec!["/opt-root-only".into()];
    assert_eq!(bed.run(&closed).unwrap_err().errno, libc::EACCES);
}

fn exec_is_confined_alike() {
    let mut bed = Bed::new();
    let script = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|Umask|Cpus)' \
                  /proc/self/status; cat /proc/self/oom_score_adj /proc/self/limits \
                  /proc/self/cgroup; for n in /proc/self/ns/*; do readlink $n; done; pwd; env | sort; \
                  ls /proc/self/fd | wc -l";
    for (user, privileged) in [("", false), ("web", false), ("", true)] {
        let mut spec = bed.spec("");
        spec.process.args = vec![
            "/bin/sh".into(),
            "-c".into(),
            "sh -c \"$SCRIPT\" > /tmp/out 2>&1; touch /tmp/done; exec sleep 1000".into(),
        ];
        spec.privileged = privileged;
        spec.process.user = user.into();
        spec.process.cwd = "/tmp".into();
        spec.process.env = vec![format!("SCRIPT={script}"), "A=b".into()];
        spec.process.oom_score_adj = 77;
        spec.process.rlimits = vec![limit("nofile", 512, 600), limit("core", 0, 0)];
        let running = bed.start(&spec);
        let exec = Process {
            args: vec!["sh".into(), "-c".into(), "sh -c \"$SCRIPT\"".into()],
            ..spec.process.clone()
        };
        let wait = "while ! test -e /tmp/done; do sleep 0.01; done; cat /tmp/out";
        let first = Process {
            args: vec!["sh".into(), "-c".into(), wait.into()],
            ..spec.process.clone()
        };
        let (_, main) = bed.exec(&running, &spec, &first).unwrap();
        let (_, second) = bed.exec(&running, &spec, &exec).unwrap();
        assert!(main.contains("Seccomp"), "{main}");
        // The main program's streams: input null, output a file here, so the same count.
        assert_eq!(main, second, "{user} {privileged}");
        bed.stop(&running);
    }
}

fn limit(name: &str, soft: u64, hard: u64) -> Rlimit {
    Rlimit {
        name: name.into(),
        soft,
        hard,
    }
}

fn masks_and_devices() {
    let mut bed = Bed::new();
    let mut spec = bed.spec(
        "for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do \
           test -e $f && echo $f $(head -c 9 $f | wc -c); done; \
         ls /sys/firmware | wc -l; \
         ls /sys/devices/system/cpu/cpu0/thermal_throttle 2>/dev/null | wc -l; \
         for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/mm/ksm/run \
           /sys/fs/cgroup/memory/cgroup.procs /sys/fs/cgroup/cgroup.procs /proc/irq/x; do \
           (echo 0 > $f) 2>/dev/null && echo wrote $f; done; \
         echo DEV; ls /dev | grep -v core; mknod /b b 8 0 && (head -c 1 /b || mknod /f c 10 229 && head -c 1 /f || \
         mknod /m c 1 1 && head -c 1 /m) 2>&1; head -c 3 /dev/zero | wc -c; \
         mount -t tmpfs x /tmp 2>&1; cat /proc/self/cgroup | grep -v ':/$'",
    );
    spec.ipc = Namespace::Private;
    let (_, text) = bed.run(&spec).unwrap();
    let (start, rest) = text.split_once("DEV\n").unwrap();
    for line in start.lines() {
        assert!(line.ends_with(" 0") || line == "0", "{text}");
    }
    assert!(!text.contains("wrote"), "{text}");
    let nodes: Vec<_> = rest.lines().take(15).collect();
    assert_eq!(
        nodes[..14],
        [
            "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
            "stdout", "tty", "urandom", "zero"
        ]
    );
    assert_eq!(rest.matches("Operation not permitted").count(), 3, "{rest}");
    assert!(rest.contains("\n3\nmount: "), "{rest}");
    // An extra device comes with its rule.
    let mut spec = bed.spec("head -c 4 /dev/fast/zero2 | wc -c; stat -c %t:%T /dev/fast/zero2");
    spec.devices = vec![Device {
        host_path: "/dev/zero".into(),
        container_path: "/dev/fast/zero2".into(),
        read: true,
        write: false,
        mknod: false,
    }];
    assert_eq!(bed.output(&spec), "4\n1:5\n");
    spec = bed.spec("");
    spec.devices = vec![Device {
        host_path: "/etc/passwd".into(),
        container_path: "/dev/passwd".into(),
        read: true,
        write: true,
        mknod: true,
    }];
    let error = bed.run(&spec).unwrap_err();
    assert_eq!((error.stage.as_str(), error.errno), ("dev", libc::EINVAL));
}

fn privileged() {
    let mut bed = Bed::new();
    let mut spec = bed.spec(
        "mount -t tmpfs x /tmp && echo mounted; \
         head -c 1 /proc/timer_list | wc -c; ls /dev | wc -l; \
         grep -E '^(CapEff|Seccomp:)' /proc/self/status",
    );
    spec.privileged = true;
    let text = bed.output(&spec);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert!(text.starts_with("mounted\n"), "{text}");
    assert_eq!(field(&text, "CapEff"), field(&own, "CapEff"));
    assert_eq!(field(&text, "Seccomp"), "0");
    let nodes: usize = text.lines().nth(2).unwrap().parse().unwrap();
    assert!(nodes > 15, "{text}");
}

fn limits_are_set() {
    let mut bed = Bed::with_limits(&Limits {
        memory_bytes: Some(256 << 20),
        ..Limits::default()
    });
    let v2 = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    let (files, values) = match v2 {
        true => (
            "memory.max memory.swap.max memory.low cpu.weight cpu.max pids.max",
            "67108864\n0\n33554432\n20\n50000 100000\n33\n",
        ),
        false => (
            "memory/memory.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us pids/pids.max",
            "67108864\n512\n50000\n33\n",
        ),
    };
    // The share is set when the program runs already.
    let (share, unset) = if v2 {
        ("cpu.weight", 100)
    } else {
        ("cpu/cpu.shares", 1024)
    };
    let mut spec = bed.spec(&format!(
        "cd /sys/fs/cgroup; i=0; while [ $(cat {share}) = {unset} ] && [ $i -lt 500 ]; do \
         i=$((i + 1)); sleep 0.01; done; ulimit -n; ulimit -Hn; cat {files}; cat /proc/self/oom_score_adj; \
         cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax; stat -f -c %b:%S /dev/shm",
    ));
    spec.limits = Limits {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_bytes: Some(64 << 20),
        memory_reservation_bytes: Some(32 << 20),
        swap_bytes: Some(0),
        swappiness: None,
        pids: Some(33),
    };
    spec.process.rlimits = vec![limit("nofile", 1024, 2048)];
    spec.process.oom_score_adj = 500;
    spec.sysctls = vec![
        ("net.core.somaxconn".into(), "77".into()),
        ("kernel.msgmax".into(), "9999".into()),
    ];
    spec.shm_bytes = Some(8 << 20);
    assert_eq!(
        bed.output(&spec),
        format!("1024\n2048\n{values}500\n77\n9999\n2048:4096\n")
    );
    spec = bed.spec("");
    spec.sysctls = vec![("kernel.core_pattern".into(), "x".into())];
    assert_eq!(bed.run(&spec).unwrap_err().stage, "sysctl");
}

fn mount(target: &str, source: &std::path::Path, readonly: bool) -> Mount {
    Mount {
        target: target.into(),
        kind: MountKind::Bind {
            source: source.display().to_string(),
        },
        readonly,
    }
}

fn volumes() {
    let mut bed = Bed::new();
    let data = bed.folder.join("data");
    fs::create_dir_all(data.join("sub/deep")).unwrap();
    fs::write(data.join("file"), "content\n").unwrap();
    fs::copy("/bin/busybox", data.join("suid")).unwrap();
    let mut spec = bed.spec(
        "cat /etc/hosts /data/file; echo new > /data/written; \
         (echo x > /ro/x) 2>&1; cat /data/sub/extra; echo t > /tmp/cache/t; \
         grep -E ' (/data|/ro|/tmp/cache) ' /proc/mounts | awk '{print $2,$4}' | \
         sed 's/relatime.*//'",
    );
    std::os::unix::fs::symlink("busybox", bed.base().join("bin/sed")).unwrap();
    spec.mounts = vec![
        mount("/data/sub/extra", &data.join("file"), true),
        mount("/data", &data, false),
        mount("/ro", &data, true),
        mount("/etc/hosts", &data.join("file"), true),
        Mount {
            target: "/tmp/cache".into(),
            kind: MountKind::Tmpfs {
                size_bytes: 1 << 20,
                options: vec!["mode=700".into(), "exec".into()],
            },
            readonly: false,
        },
    ];
    assert_eq!(
        bed.output(&spec),
        "content\ncontent\n/bin/sh: can't create /ro/x: Read-only file system\ncontent\n\
         /data rw,nosuid,nodev,\n/ro ro,nosuid,nodev,\n/tmp/cache rw,nosuid,nodev,\n"
            .replace("/bin/sh: can't", "sh: can't")
            .replace("sh: can't", "/bin/sh: can't")
    );
    assert_eq!(fs::read_to_string(data.join("written")).unwrap(), "new\n");
    let mut spec = bed.spec("true");
    spec.readonly_root = true;
    spec.process.args = process(&["sh", "-c", "(echo x > /x) 2>&1; echo y > /dev/shm/y"]).args;
    assert!(bed.output(&spec).contains("Read-only"));
}

fn read_only_covers_submounts() {
    let mut bed = Bed::new();
    let data = bed.folder.join("data");
    let nested = data.join("nested");
    fs::create_dir_all(&nested).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &nested, "tmpfs", flags, None).unwrap();
    let mut spec = bed.spec("(echo x > /data/nested/x) 2>&1; (echo y > /rw/nested/y) 2>&1; true");
    spec.mounts = vec![mount("/data", &data, true), mount("/rw", &data, false)];
    let text = bed.run(&spec);
    let written: Vec<_> = fs::read_dir(&nested)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    rustix::mount::unmount(&nested, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(text.unwrap().1.contains("Read-only file system"));
    assert_eq!(written, ["y"]);
}

/// A program that becomes root when run, and a device, both put on a volume by someone else.
fn a_volume_makes_nobody_root() {
    let mut bed = Bed::new();
    let data = bed.folder.join("data");
    fs::create_dir_all(&data).unwrap();
    fs::copy("/bin/busybox", data.join("id")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    fs::set_permissions(data.join("id"), mode).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        data.join("null"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    let mut spec = bed.spec("/data/id -u; (cat /data/null) 2>&1");
    spec.mounts = vec![mount("/data", &data, false)];
    spec.process.user = "web".into();
    let (_, text) = bed.run(&spec).unwrap();
    assert_eq!(
        text,
        "1000\ncat: can't open '/data/null': Permission denied\n"
    );
}

fn host_namespaces() {
    let mut bed = Bed::new();
    let mut spec = bed.spec("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; echo $$");
    spec.network = Network::Host;
    spec.ipc = Namespace::Host;
    spec.pid = Namespace::Host;
    let text = bed.output(&spec);
    let own = |kind| {
        let link = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        link.display().to_string()
    };
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..2], [own("net"), own("ipc")]);
    assert!(lines[2].parse::<u32>().unwrap() > 10, "{text}");
    spec = bed.spec("cat /proc/net/dev | grep -c :; ");
    assert_eq!(bed.output(&spec), "1\n");
    spec = bed.spec("");
    spec.network = Network::Path("/etc/passwd".into());
    let error = bed.run(&spec).unwrap_err();
    assert_eq!(
        (error.stage.as_str(), error.errno),
        ("namespaces", libc::ENOENT)
    );
}
