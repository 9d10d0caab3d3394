//! The shim with real containers: needs root and a static busybox at /bin/busybox or /usr/bin.

#[path = "shim/bed.rs"]
mod bed;
#[path = "shim/scenarios.rs"]
mod scenarios;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use windlass_runtime::spec::*;
use windlass_runtime::{EventKind, Runtime, start};

/// Runs a scenario in its own cgroup, and looks at what it leaves.
async fn with_containers<F: Future<Output = ()>>(scenario: impl FnOnce(bed::Bed) -> F) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    if !rustix::process::geteuid().is_root() {
        println!("skipped: containers need root");
        return;
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let cgroup_root = format!("/windlass-test-{}-{number}", std::process::id());
    let image = tempfile::tempdir().expect("a folder for the image");
    fill(image.path());
    let mounts = mounts();
    scenario(bed::Bed::new(&cgroup_root, Some(image.path().to_owned()))).await;
    let left = cgroup_folders(&cgroup_root);
    // Sandboxes are removed one by one; their parent is the installation's.
    let errors = start::remove_cgroups(&cgroup_root);
    assert!(errors.is_empty(), "{errors:?}");
    let left: Vec<_> = left
        .iter()
        .filter(|path| !path.ends_with("_shims"))
        .collect();
    assert!(left.is_empty(), "left: {left:?}");
    let new: Vec<_> = self::mounts()
        .into_iter()
        .filter(|mount| !mounts.contains(mount))
        .collect();
    let path = image.path().to_str().unwrap();
    assert!(!new.iter().any(|mount| mount.contains(path)), "{new:?}");
}

fn fill(image: &Path) {
    for folder in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        std::fs::create_dir(image.join(folder)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let busybox = busybox
        .iter()
        .find(|path| path.exists())
        .expect("a static busybox");
    std::fs::copy(busybox, image.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "sleep", "echo", "head", "tr", "yes", "cat", "true", "dd", "printf",
    ] {
        std::os::unix::fs::symlink("busybox", image.join("bin").join(applet)).unwrap();
    }
}

fn mounts() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The sandboxes' groups that are still there, in every hierarchy.
fn cgroup_folders(root: &str) -> Vec<PathBuf> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    let mut roots: Vec<PathBuf> = hierarchies
        .map(|entry| entry.path().join(&root[1..]))
        .collect();
    roots.push(Path::new("/sys/fs/cgroup").join(&root[1..]));
    let groups = roots
        .iter()
        .filter_map(|root| std::fs::read_dir(root).ok())
        .flatten()
        .flatten();
    groups
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

macro_rules! scenarios {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            with_containers(scenarios::$name).await;
        }
    )*};
}

scenarios! {
    a_killed_shim_is_noticed
    a_mute_shim_is_listed
    a_spare_ends_with_its_agent
    an_event_is_told_until_it_is_heard
    bad_requests_are_refused
    execs_answer
    exits_are_reported
    hostile_frames_end_only_their_connection
    logs_rotate
    missing_commands_leak_nothing
    output_is_logged
    removal_takes_all_with_it
    standard_input_ends_or_stays_open
    stop_sends_its_signal
    stop_turns_into_a_kill_without_an_agent
}

/// What a killed shim leaves running is killed and removed by name.
#[tokio::test]
async fn removal_needs_no_shim() {
    with_containers(|mut bed| async move {
        let id = bed.sandbox("a1").await;
        let mut pids = Vec::new();
        for name in ["one", "two"] {
            let script = "trap '' TERM; sleep 1000 & sleep 1000 & wait; sleep 1000";
            pids.push(
                bed.runtime
                    .start(&id, bed.shell(name, script))
                    .await
                    .unwrap()
                    .pid,
            );
        }
        let mut host = bed.shell("host", "sleep 1000 & sleep 1000 & wait");
        host.pid = Namespace::Host;
        pids.push(bed.runtime.start(&id, host).await.unwrap().pid);
        let shim = rustix::process::Pid::from_raw(bed.shim_pid(&id)).unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
        assert!(matches!(bed.event().await, EventKind::ShimDied { .. }));
        assert!(
            pids.iter().all(|pid| bed::is_alive(*pid)),
            "containers outlive their shim"
        );
        bed.runtime.remove_sandbox(&id).await.unwrap();
        assert!(!pids.iter().any(|pid| bed::is_alive(*pid)));
        bed.close().await;
    })
    .await;
}

#[tokio::test]
async fn memory_kills_are_told() {
    with_containers(|mut bed| async move {
        let id = bed.sandbox("a1").await;
        let mut spec = bed.shell("greedy", "dd if=/dev/zero of=/dev/null bs=200M count=1");
        spec.limits.memory_bytes = Some(32 << 20);
        spec.limits.swap_bytes = Some(0);
        bed.runtime.start(&id, spec).await.unwrap();
        match bed.event().await {
            EventKind::Exited {
                exit,
                oom: Some(oom),
                ..
            } => {
                assert_eq!(exit.code(), 137);
                assert_eq!(oom.limit_bytes, 32 << 20);
                assert!(oom.peak_bytes > 16 << 20, "{oom:?}");
            }
            other => panic!("{other:?}"),
        }
        bed.close().await;
    })
    .await;
}

/// The namespaces that containers share are none's: any may end, and later ones find the others.
#[tokio::test]
async fn shared_namespaces_outlive_their_containers() {
    with_containers(|mut bed| async move {
        let id = bed.sandbox("a1").await;
        let shares = |mut spec: ContainerSpec| {
            spec.pid = Namespace::Sandbox;
            spec.ipc = Namespace::Sandbox;
            spec
        };
        let first = bed.shell("first", "echo kept > /dev/shm/x; sleep 4323 & exit 0");
        assert_eq!(bed.run(&id, shares(first)).await, Exit::Code(0));
        let stays = bed.shell("stays", "sleep 4324 & wait");
        bed.runtime.start(&id, shares(stays)).await.unwrap();
        let again = bed.shell("first", "exit 3");
        assert_eq!(bed.run(&id, shares(again)).await, Exit::Code(3));
        let script = "cat /dev/shm/x; kill -9 1 2>/dev/null; \
            while busybox grep -qs '^State:.Z' /proc/[0-9]*/status; do busybox usleep 10000; done; \
            for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done | busybox grep '^sleep'";
        let later = bed.shell("later", script);
        assert_eq!(bed.run(&id, shares(later)).await, Exit::Code(0));
        assert_eq!(
            bed.records("later"),
            ["stdout F kept", "stdout F sleep 4324 "]
        );
        let state = bed.state(&id).await;
        let names: Vec<&str> = state.containers.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["first", "later", "stays"]);
        assert_eq!(state.containers[2].status, windlass_runtime::state::Status::Running);
        bed.runtime.remove_sandbox(&id).await.unwrap();
        bed.close().await;
    })
    .await;
}

/// A service manager that ends the agent's group must not find the shim in it.
#[tokio::test]
async fn shims_leave_the_service_of_their_agent() {
    with_containers(|bed| async move {
        let id = bed.sandbox("a1").await;
        let shim = bed.shim_pid(&id);
        bed::until("the shim is in the group of shims", || {
            let groups = std::fs::read_to_string(format!("/proc/{shim}/cgroup")).unwrap();
            let managed = |line: &&str| line.starts_with("0::") || line.contains(":name=systemd:");
            let mut managed = groups.lines().filter(managed);
            managed.all(|line| line.ends_with("/_shims"))
        })
        .await;
        bed.close().await;
    })
    .await;
}

/// A container of the host's process numbers leaves orphans; its end takes them with it.
#[tokio::test]
async fn orphans_end_with_their_container() {
    with_containers(|mut bed| async move {
        let id = bed.sandbox("a1").await;
        let script = "sleep 4321 & echo $!; (sleep 4322 & echo $!); exit 0";
        let mut spec = bed.shell("host", script);
        spec.pid = Namespace::Host;
        assert_eq!(bed.run(&id, spec).await, Exit::Code(0));
        let records = bed.records("host");
        let pids: Vec<i32> = records
            .iter()
            .map(|r| r["stdout F ".len()..].parse().unwrap())
            .collect();
        assert_eq!(pids.len(), 2);
        bed::until("the orphans are gone", || {
            pids.iter()
                .all(|pid| !bed::exists(Path::new(&format!("/proc/{pid}"))))
        })
        .await;
        bed.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_terminal_is_logged() {
    with_containers(|mut bed| async move {
        let id = bed.sandbox("a1").await;
        let mut spec = bed.shell("tty", "test -t 1 && echo on a terminal; exit 3");
        spec.process.tty = true;
        assert_eq!(bed.run(&id, spec).await, Exit::Code(3));
        assert_eq!(bed.records("tty"), ["stdout F on a terminal"]);
        bed.close().await;
    })
    .await;
}

/// A full disk stops no container; the records that were lost are counted.
#[tokio::test]
async fn a_full_disk_drops_records() {
    with_containers(|mut bed| async move {
        let id = bed.sandbox("a1").await;
        let disk = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("windlass", disk.path(), "tmpfs", flags, c"size=64k").unwrap();
        let script = "head -c 4000000 /dev/zero | tr '\\0' '\\n'; echo end; exit 3";
        let mut spec = bed.shell("chatty", script);
        spec.log.path = disk.path().join("chatty.log").to_str().unwrap().into();
        spec.log.max_bytes = 1 << 30;
        let exit = bed.run(&id, spec).await;
        let text = std::fs::read_to_string(disk.path().join("chatty.log")).unwrap();
        rustix::mount::unmount(disk.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(exit, Exit::Code(3));
        assert!(text.len() <= 64 * 1024);
        assert!(text.ends_with('\n'), "the last record is whole");
        let state = bed.container_state(&id, "chatty").await;
        let written = text
            .lines()
            .filter(|line| line.contains(" stdout "))
            .count() as u64;
        assert_eq!(written + state.log_records_dropped, 4_000_001);
        bed.close().await;
    })
    .await;
}

/// Prints what a shim costs: `cargo test --release … -- --ignored --nocapture figures`.
#[tokio::test]
#[ignore = "prints figures and judges nothing"]
async fn figures() {
    with_containers(|mut bed| async move {
        let mut ids = Vec::new();
        for number in 0..30 {
            let id = bed.sandbox(&format!("a{number}")).await;
            let spec = bed.container("web", &["/bin/sleep", "1000"]);
            bed.runtime.start(&id, spec).await.unwrap();
            ids.push(id);
            if [1, 30].contains(&ids.len()) {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                let of = |field: &str| {
                    let each = ids.iter().map(|id| rollup(bed.shim_pid(id), field));
                    each.sum::<u64>() / ids.len() as u64
                };
                let (pss, anon, rss) = (of("Pss:"), of("Pss_Anon:"), of("Rss:"));
                println!(
                    "{} shims: Pss {pss}, Pss_Anon {anon}, Rss {rss} kB each",
                    ids.len()
                );
            }
        }
        let mut starts = Vec::new();
        let mut fresh = Vec::new();
        for round in 0..100 {
            let id = &ids[round % 30];
            let spec = bed.container("quick", &["/bin/true"]);
            let before = std::time::Instant::now();
            bed.runtime.start(id, spec).await.unwrap();
            starts.push(before.elapsed());
            assert_eq!(bed.exit("quick").await, Exit::Code(0));
        }
        for round in 0..30 {
            let before = std::time::Instant::now();
            let id = bed.sandbox(&format!("b{round}")).await;
            let created = before.elapsed();
            // As when layers and a network are made meanwhile.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let spec = bed.container("first", &["/bin/sleep", "1000"]);
            let before = std::time::Instant::now();
            bed.runtime.start(&id, spec).await.unwrap();
            fresh.push((created, before.elapsed()));
            bed.runtime.remove_sandbox(&id).await.unwrap();
        }
        let mut execs = Vec::new();
        for round in 0..100 {
            let before = std::time::Instant::now();
            let mut spec = bed.exec_spec("web", "");
            spec.process.args = vec!["/bin/true".into()];
            let result = bed.runtime.exec(&ids[round % 30], spec).await.unwrap();
            assert_eq!(result.exit, Exit::Code(0));
            execs.push(before.elapsed());
        }
        print_times("start, in a sandbox that has run", starts);
        print_times(
            "create sandbox",
            fresh.iter().map(|times| times.0).collect(),
        );
        print_times(
            "first start, parked",
            fresh.iter().map(|times| times.1).collect(),
        );
        print_times("exec of true, to its answer", execs);
        bed.close().await;
    })
    .await;
}

fn print_times(what: &str, mut times: Vec<std::time::Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!(
        "{what}: min {:?}, p50 {:?}, p95 {:?}",
        at(0),
        at(50),
        at(95)
    );
}

fn rollup(pid: i32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with(field))
        .expect("the field");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
