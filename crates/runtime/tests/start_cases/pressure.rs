//! Containers that take all they get: processes, memory, and paths of the host while they change.

use std::fs;

use crate::Case;
use crate::bed::{Bed, process};
use windlass_runtime::spec::{Exit, Limits, Mount, MountKind};

pub(crate) const CASES: &[Case] = &[
    (
        "a_fork_bomb_stays_in_its_group",
        a_fork_bomb_stays_in_its_group,
    ),
    (
        "an_installation_leaves_process_ids_to_others",
        an_installation_leaves_process_ids_to_others,
    ),
    (
        "files_of_a_container_are_its_own",
        files_of_a_container_are_its_own,
    ),
    ("memory_files_are_charged", memory_files_are_charged),
    ("memory_files_are_sized", memory_files_are_sized),
    ("a_source_that_becomes_a_link", a_source_that_becomes_a_link),
    ("no_way_to_the_host", no_way_to_the_host),
    (
        "a_leaked_descriptor_does_not_arrive",
        a_leaked_descriptor_does_not_arrive,
    ),
    ("errors_tell_no_values", errors_tell_no_values),
];

/// Every process of the bomb tries to become two. Beside it another container lives on, and the
/// bomb ends as a whole.
fn a_fork_bomb_stays_in_its_group() {
    let mut bed = Bed::new();
    let neighbour = bed.spec("exec sleep 1000");
    let neighbour_spec = neighbour.clone();
    let neighbour = bed.start(&neighbour);
    let mut spec = bed.spec("b() { b 2>/dev/null & b 2>/dev/null & wait; }; b");
    spec.limits = Limits {
        pids: Some(40),
        memory_bytes: Some(256 << 20),
        ..Limits::default()
    };
    let bomb = bed.start(&spec);
    let inside = process(&["sh", "-c", "echo alive; ls -d /proc/[0-9]* | wc -l"]);
    for _ in 0..5 {
        let (exit, text) = bed.exec(&neighbour, &neighbour_spec, &inside).unwrap();
        assert_eq!(exit, Exit::Code(0));
        assert!(text.starts_with("alive\n"), "{text}");
    }
    let group = format!("/proc/{}/cgroup", bomb.pid);
    if let Ok(groups) = fs::read_to_string(group) {
        for line in groups
            .lines()
            .filter(|line| line.contains("pids") || line.starts_with("0::"))
        {
            let path = line.rsplit(':').next().unwrap();
            for root in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
                let current = fs::read_to_string(format!("{root}{path}/pids.current"));
                if let Ok(current) = current {
                    assert!(current.trim().parse::<u32>().unwrap() <= 40, "{current}");
                }
            }
        }
    }
    bed.stop(&bomb);
    bed.stop(&neighbour);
}

/// Whatever tasks do together, the kernel has process ids left.
fn an_installation_leaves_process_ids_to_others() {
    let bed = Bed::new();
    let (installation, _) = bed.parent.rsplit_once('/').unwrap();
    let number = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let all = number("/proc/sys/kernel/pid_max").unwrap();
    for _ in 0..2 {
        windlass_runtime::start::bound_processes(installation).unwrap();
        let folders = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let bounds = folders
            .iter()
            .filter_map(|root| number(&format!("{root}{installation}/pids.max")));
        let bounds: Vec<u64> = bounds.collect();
        assert_eq!(bounds.len(), 1);
        assert!(bounds[0] < all && bounds[0] > 0, "{bounds:?} of {all}");
    }
}

/// A container may write to its files where its root may be written to, and fills nothing but them:
/// the next start of the same container finds them as they were.
fn files_of_a_container_are_its_own() {
    let mut bed = Bed::new();
    let long = "10.77.0.2\tname\n".repeat(10_000);
    let script = "wc -c < /etc/hosts; cat /etc/name; \
         dd if=/dev/zero of=/etc/hosts bs=64k count=64 2>&1 | grep -o 'No space left on device'; \
         dd if=/dev/zero of=/etc/hosts bs=64k count=64 2>&1 | grep -o 'Read-only file system'; \
         touch /etc/name/x 2>/dev/null || grep -c ' /etc/hosts tmpfs ' /proc/mounts";
    for (readonly, want) in [
        (false, "No space left on device"),
        (false, "No space left on device"),
        (true, "Read-only file system"),
    ] {
        let mut spec = bed.spec(script);
        let file = |target: &str, text: &str| Mount {
            target: target.into(),
            kind: MountKind::File { text: text.into() },
            readonly,
        };
        spec.readonly_root = readonly;
        spec.mounts = vec![file("/etc/hosts", &long), file("/etc/name", "web\n")];
        let text = bed.output(&spec);
        assert_eq!(text, format!("{}\nweb\n{want}\n1\n", long.len()));
    }
}

fn tmpfs(spec: &mut windlass_runtime::spec::ContainerSpec, size_bytes: u64) {
    spec.mounts = vec![Mount {
        target: "/cache".into(),
        kind: MountKind::Tmpfs {
            size_bytes,
            options: Vec::new(),
        },
        readonly: false,
    }];
}

/// What lies in memory belongs to the container that wrote it: it ends, its neighbour does not.
fn memory_files_are_charged() {
    let mut bed = Bed::new();
    let neighbour = bed.spec("exec sleep 1000");
    let neighbour_spec = neighbour.clone();
    let neighbour = bed.start(&neighbour);
    for folder in ["/dev/shm", "/cache"] {
        let mut spec = bed.spec("");
        let file = format!("of={folder}/file");
        spec.process.args = process(&["dd", "if=/dev/zero", &file, "bs=1M", "count=200"]).args;
        spec.limits = Limits {
            memory_bytes: Some(32 << 20),
            swap_bytes: Some(0),
            ..Limits::default()
        };
        spec.shm_bytes = Some(256 << 20);
        tmpfs(&mut spec, 256 << 20);
        let (exit, text) = bed.run(&spec).unwrap();
        assert_eq!(exit, Exit::Signal(9), "{folder}: {text}");
    }
    let alive = process(&["true"]);
    let (exit, _) = bed.exec(&neighbour, &neighbour_spec, &alive).unwrap();
    assert_eq!(exit, Exit::Code(0));
    bed.stop(&neighbour);
}

fn memory_files_are_sized() {
    let mut bed = Bed::new();
    let mut spec = bed.spec(
        "for f in /dev/shm /cache /dev; do \
           dd if=/dev/zero of=$f/file bs=1M count=80 2>/dev/null; stat -c %s $f/file; done",
    );
    spec.shm_bytes = Some(4 << 20);
    tmpfs(&mut spec, 2 << 20);
    assert_eq!(bed.output(&spec), "4194304\n2097152\n67108864\n");
}

/// A container shares the folder that holds the source of another's volume, and keeps exchanging
/// that source for a link. What is mounted is the folder, or the start is refused.
fn a_source_that_becomes_a_link() {
    let mut bed = Bed::new();
    let data = bed.folder.join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(data.join("sub/own"), "").unwrap();
    let volume = |target: &str, source: &std::path::Path| Mount {
        target: target.into(),
        kind: MountKind::Bind {
            source: source.display().to_string(),
        },
        readonly: false,
    };
    let mut racer = bed.spec("");
    racer.process.args = process(&["/probe", "probe", "exchange"]).args;
    racer.mounts = vec![volume("/data", &data)];
    let running = bed.start(&racer);
    let (mut good, mut refused) = (0, 0);
    for _ in 0..100 {
        let mut spec = bed.spec("ls /v");
        spec.mounts = vec![volume("/v", &data.join("sub"))];
        match bed.run(&spec) {
            Ok((_, text)) => {
                assert_eq!(text, "own\n");
                good += 1;
            }
            Err(error) => {
                assert_eq!(error.stage, "mount", "{error}");
                assert!(
                    [libc::ELOOP, libc::EAGAIN].contains(&error.errno),
                    "{error}"
                );
                refused += 1;
            }
        }
    }
    bed.stop(&running);
    assert!(good > 0 && refused > 0, "{good} {refused}");
}

/// Root with the field's capabilities, in the main program and in an exec.
fn no_way_to_the_host() {
    let mut bed = Bed::new();
    let spec = bed.spec("/probe probe escapes; exec sleep 1000");
    let running = bed.start(&spec);
    let probe = process(&["/probe", "probe", "escapes"]);
    let (_, exec) = bed.exec(&running, &spec, &probe).unwrap();
    assert_eq!(exec, "done\n");
    bed.stop(&running);
    let mut main = bed.spec("");
    main.process.args = probe.args;
    assert_eq!(bed.output(&main), "done\n");
    // As another user too, who may at most do the same.
    main = bed.spec("");
    main.process.args = process(&["/probe", "probe", "escapes"]).args;
    main.process.user = "web".into();
    assert_eq!(bed.output(&main), "done\n");
}

/// A folder of the host, open by a mistake in this process and not closed by execve, is closed all
/// the same before a program starts.
fn a_leaked_descriptor_does_not_arrive() {
    let mut bed = Bed::new();
    let host = fs::File::open("/").unwrap();
    let leaked = rustix::io::dup(&host).unwrap();
    let spec =
        bed.spec("ls /proc/self/fd | wc -l; ls -l /proc/self/fd 2>/dev/null | grep -c ' /$'; exec sleep 1000");
    let script = spec.process.args[2].replace("exec sleep 1000", "true");
    let running = bed.start(&spec);
    // A listing has its own folder open.
    let (_, text) = bed
        .exec(&running, &spec, &process(&["sh", "-c", &script]))
        .unwrap();
    assert_eq!(text, "4\n0\n");
    bed.stop(&running);
    let spec = bed.spec(&script);
    assert_eq!(bed.output(&spec), "4\n0\n");
    drop(leaked);
}

/// What the environment holds may be a password: a start that fails does not repeat it.
fn errors_tell_no_values() {
    let mut bed = Bed::new();
    let changes: [fn(&mut windlass_runtime::spec::ContainerSpec); 4] = [
        |spec| spec.process.args = process(&["/nope"]).args,
        |spec| spec.process.user = "nobody".into(),
        |spec| spec.process.cwd = "/bin/sh".into(),
        |spec| spec.process.env.push("TOKEN=mark-of-a-value\0".into()),
    ];
    for change in changes {
        let mut spec = bed.spec("");
        spec.process.env = vec!["TOKEN=mark-of-a-value".into()];
        change(&mut spec);
        let error = bed.run(&spec).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("mark-of"),
            "{error:?}"
        );
    }
}
