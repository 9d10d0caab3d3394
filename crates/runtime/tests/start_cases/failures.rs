//! Starts that fail: the exact step and errno, and nothing left behind.

use std::fs;

use crate::Case;
use crate::bed::{Bed, process};
use windlass_runtime::spec::{ContainerSpec, Limits, Mount, MountKind, Namespace, Rlimit};

pub(crate) const CASES: &[Case] = &[
    ("exact_errors", exact_errors),
    ("failures_leave_nothing", failures_leave_nothing),
    ("a_group_in_use_is_refused", a_group_in_use_is_refused),
];

type Change = fn(&mut ContainerSpec);

fn bind(target: &str, source: &str) -> Vec<Mount> {
    vec![Mount {
        target: target.into(),
        kind: MountKind::Bind {
            source: source.into(),
        },
        readonly: false,
    }]
}

const TABLE: &[(&str, Change, &str, i32)] = &[
    (
        "missing",
        |s| s.process.args = process(&["nope"]).args,
        "exec",
        libc::ENOENT,
    ),
    (
        "missing path",
        |s| s.process.args = process(&["/no/pe"]).args,
        "exec",
        libc::ENOENT,
    ),
    (
        "no command",
        |s| s.process.args.clear(),
        "exec",
        libc::EINVAL,
    ),
    (
        "a command without a name",
        |s| s.process.args = process(&[""]).args,
        "exec",
        libc::ENOENT,
    ),
    (
        "not executable",
        |s| s.process.args = process(&["/etc/passwd"]).args,
        "exec",
        libc::EACCES,
    ),
    (
        "a folder",
        |s| s.process.args = process(&["/etc"]).args,
        "exec",
        libc::EACCES,
    ),
    (
        "file in the way",
        |s| s.process.args = process(&["/etc/passwd/x"]).args,
        "exec",
        libc::ENOTDIR,
    ),
    (
        "cwd file",
        |s| s.process.cwd = "/etc/passwd".into(),
        "cwd",
        libc::ENOTDIR,
    ),
    (
        "cwd relative",
        |s| s.process.cwd = "etc".into(),
        "cwd",
        libc::EINVAL,
    ),
    (
        "cwd long",
        |s| s.process.cwd = format!("/{}", "x".repeat(5000)),
        "cwd",
        libc::ENAMETOOLONG,
    ),
    (
        "user",
        |s| s.process.user = "nobody".into(),
        "user",
        libc::ENOENT,
    ),
    (
        "user number",
        |s| s.process.user = "4294967296".into(),
        "user",
        libc::EINVAL,
    ),
    (
        "capability",
        |s| s.process.capabilities = vec!["FLY".into()],
        "credentials",
        libc::EINVAL,
    ),
    (
        "no layers",
        |s| {
            crate::bed::lower(s).clear();
        },
        "rootfs",
        libc::EINVAL,
    ),
    (
        "missing layer",
        |s| {
            crate::bed::lower(s).push("/no/layer".into());
        },
        "rootfs",
        libc::ENOENT,
    ),
    (
        "missing source",
        |s| s.mounts = bind("/x", "/no/source"),
        "mount",
        libc::ENOENT,
    ),
    (
        "target proc",
        |s| s.mounts = bind("/proc/x", "/etc"),
        "mount",
        libc::EPERM,
    ),
    (
        "target root",
        |s| s.mounts = bind("/", "/etc"),
        "mount",
        libc::EINVAL,
    ),
    (
        "target relative",
        |s| s.mounts = bind("x", "/etc"),
        "mount",
        libc::EINVAL,
    ),
    (
        "target above the root",
        |s| s.mounts = bind("/x/../..", "/etc"),
        "mount",
        libc::EINVAL,
    ),
    (
        "folder on file",
        |s| s.mounts = bind("/etc/passwd", "/etc"),
        "mount",
        libc::ENOTDIR,
    ),
    (
        "file on folder",
        |s| s.mounts = bind("/etc", "/etc/hostname"),
        "mount",
        libc::EISDIR,
    ),
    (
        "target twice",
        |s| s.mounts = [bind("/x", "/etc"), bind("/x/", "/etc")].concat(),
        "mount",
        libc::EINVAL,
    ),
    (
        "rlimit name",
        |s| {
            s.process.rlimits = vec![Rlimit {
                name: "x".into(),
                soft: 1,
                hard: 1,
            }]
        },
        "rlimit",
        libc::EINVAL,
    ),
    (
        "rlimit order",
        |s| {
            s.process.rlimits = vec![Rlimit {
                name: "core".into(),
                soft: 2,
                hard: 1,
            }]
        },
        "rlimit",
        libc::EINVAL,
    ),
    (
        "oom score",
        |s| s.process.oom_score_adj = 5000,
        "oom_score_adj",
        libc::EINVAL,
    ),
    (
        "hostname",
        |s| s.hostname = "x".repeat(65),
        "hostname",
        libc::ENAMETOOLONG,
    ),
    (
        "shared pid",
        |s| s.pid = Namespace::Container("gone".into()),
        "namespaces",
        libc::ESRCH,
    ),
    (
        "memory",
        |s| {
            s.limits = Limits {
                cpu_quota_us: Some(1),
                ..Limits::default()
            }
        },
        "cgroup",
        libc::EINVAL,
    ),
];

fn exact_errors() {
    let mut bed = Bed::new();
    for (name, change, stage, errno) in TABLE {
        let mut spec = bed.spec("true");
        change(&mut spec);
        let error = bed.run(&spec).expect_err(name);
        assert_eq!(
            (error.stage.as_str(), error.errno),
            (*stage, *errno),
            "{name}: {error}"
        );
        // What it was about: here that is the empty name.
        let nameless = spec.process.args == [""];
        assert_eq!(error.detail.is_empty(), nameless, "{name}");
    }
    let mut spec = bed.spec("true");
    spec.process.env = vec!["SECRET=\0value".into()];
    let error = bed.run(&spec).unwrap_err();
    assert!(!error.to_string().contains("value"), "{error}");
}

fn failures_leave_nothing() {
    let mut bed = Bed::new();
    // A starter keeps the device program it loaded first.
    let spec = bed.spec("true");
    bed.output(&spec);
    let before = crate::bed::Residue::now();
    for round in 0..200 {
        let (name, change, ..) = TABLE[round % TABLE.len()];
        let mut spec = bed.spec("true");
        change(&mut spec);
        assert!(bed.run(&spec).is_err(), "{name}");
    }
    let running_spec = bed.spec("exec sleep 1000");
    let running = bed.start(&running_spec);
    for _ in 0..100 {
        let gone = process(&["/nope"]);
        assert!(bed.exec(&running, &running_spec, &gone).is_err());
    }
    bed.stop(&running);
    drop(running);
    assert_eq!(crate::bed::Residue::now().beyond(&before), "");
    let memory = format!("/sys/fs/cgroup/memory{}", bed.parent);
    if let Ok(entries) = fs::read_dir(memory) {
        let groups = entries.flatten().filter(|e| e.path().is_dir()).count();
        assert_eq!(groups, 0);
    }
}

fn a_group_in_use_is_refused() {
    let mut bed = Bed::new();
    let spec = bed.spec("exec sleep 1000");
    let running = bed.start(&spec);
    let (stdio, _out) = crate::bed::pipes();
    let second = bed.spec("true");
    let shared = windlass_runtime::start::Shared::default();
    let error = bed.starter.start(running.slot, &second, &shared, stdio);
    assert_eq!(error.err().map(|e| e.errno), Some(libc::EBUSY));
    let alive = bed.exec(&running, &spec, &process(&["true"]));
    assert!(alive.is_ok());
    bed.stop(&running);
}
