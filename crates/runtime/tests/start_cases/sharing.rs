//! Containers that share namespaces of another.

use std::os::fd::AsFd;

use crate::Case;
use crate::bed::{Bed, pipes, process, read, wait};
use windlass_runtime::spec::{Exit, Namespace};
use windlass_runtime::start::Shared;

pub(crate) const CASES: &[Case] = &[
    ("shared_pid", shared_pid),
    ("shared_ipc", shared_ipc),
    ("the_holder_is_weak", the_holder_is_weak),
    (
        "no_strong_process_is_ever_seen",
        no_strong_process_is_ever_seen,
    ),
];

fn shared_pid() {
    let mut bed = Bed::new();
    let first = bed.spec("exec sleep 1000");
    let running = bed.start(&first);
    for tty in [false, true] {
        for init in [false, true] {
            let mut spec = bed.spec(
                "cat /proc/1/comm; test $$ -gt 1 && echo later; cat /opt/marker; \
                 head -c 5 /proc/timer_list | wc -c; (echo 1 > /proc/sys/vm/swappiness) 2>&1 | \
                 grep -c Read-only; grep -E ^CapPrm /proc/self/status; ls /proc/self/fd | wc -l",
            );
            spec.pid = Namespace::Container("c1".into());
            spec.process.tty = tty;
            spec.init = init;
            let shared = Shared {
                pid: Some(running.pidfd.as_fd()),
                ipc: None,
            };
            let slot = bed.slot();
            let (stdio, out) = pipes();
            let mut second = bed.starter.start(slot, &spec, &shared, stdio).unwrap();
            let out = second.pty.take().unwrap_or(out);
            let text = read(out).replace('\r', "");
            assert_eq!(
                text, "sleep\nlater\ntop\n0\n1\nCapPrm:\t00000000a80425fb\n4\n",
                "{tty} {init}"
            );
            assert_eq!(wait(&second), Exit::Code(0));
            assert!(bed.starter.remove_container(slot).is_empty());
        }
    }
    let mut missing = bed.spec("");
    missing.pid = Namespace::Container("c1".into());
    missing.process.args = vec!["/nope".into()];
    let shared = Shared {
        pid: Some(running.pidfd.as_fd()),
        ipc: None,
    };
    let (stdio, _out) = pipes();
    let slot = bed.slot();
    let error = bed.starter.start(slot, &missing, &shared, stdio);
    assert_eq!(error.err().map(|e| e.errno), Some(libc::ENOENT));
    bed.stop(&running);
}

fn shared_ipc() {
    let mut bed = Bed::new();
    let first = bed.spec("echo shared > /dev/shm/x; exec sleep 1000");
    let running = bed.start(&first);
    let mut spec = bed.spec(
        "while ! test -s /dev/shm/x; do sleep 0.01; done; cat /dev/shm/x; echo $$; \
         readlink /proc/self/ns/ipc",
    );
    spec.ipc = Namespace::Container("c1".into());
    for parked in [false, true] {
        let slot = bed.slot();
        if parked {
            bed.starter.park(slot).unwrap();
            // The folders of the first run were used up.
            let fresh = bed.spec("");
            spec.root = fresh.root;
        }
        let shared = Shared {
            pid: None,
            ipc: Some(running.pidfd.as_fd()),
        };
        let (stdio, out) = pipes();
        let second = bed.starter.start(slot, &spec, &shared, stdio).unwrap();
        let text = read(out);
        let ns = std::fs::read_link(format!("/proc/{}/ns/ipc", running.pid)).unwrap();
        assert_eq!(text, format!("shared\n1\n{}\n", ns.display()));
        wait(&second);
        assert!(bed.starter.remove_container(slot).is_empty());
    }
    bed.stop(&running);
}

/// Process 1 of containers that share is ours. One that may trace it finds nothing in it that a
/// container has not.
fn the_holder_is_weak() {
    let mut bed = Bed::new();
    let holder_slot = bed.slot();
    let (stdio, _out) = pipes();
    let holder = bed.starter.hold(holder_slot, Some(1 << 20), stdio).unwrap();
    let mut spec = bed.spec(
        "busybox tr '\\0' ' ' < /proc/1/cmdline; echo; ls /proc/1/root /proc/1/root/dev/shm; ls /proc/1/fd | wc -l; \
         grep -E '^(Uid|Gid|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/1/status; \
         grep -c : /proc/1/net/dev; kill -9 1; \
         (sleep 0 & exec true); while grep -qs ^State:.Z /proc/[0-9]*/status; do sleep 0.01; done; \
         busybox df -k /dev/shm | awk 'END { print $2 }'; readlink /proc/self/ns/ipc",
    );
    spec.process.capabilities.push("SYS_PTRACE".into());
    spec.pid = Namespace::Sandbox;
    spec.ipc = Namespace::Sandbox;
    let slot = bed.slot();
    let shared = Shared {
        pid: Some(holder.pidfd.as_fd()),
        ipc: Some(holder.pidfd.as_fd()),
    };
    let (stdio, out) = pipes();
    let running = bed.starter.start(slot, &spec, &shared, stdio).unwrap();
    let text = read(out);
    assert_eq!(wait(&running), Exit::Code(0), "{text}");
    let ipc = std::fs::read_link(format!("/proc/{}/ns/ipc", holder.pid)).unwrap();
    let expected = format!(
        "windlass-init \n/proc/1/root:\ndev\nproc\nsys\n\n/proc/1/root/dev/shm:\n3\n\
         Uid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\n\
         CapPrm:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n\
         1\n1024\n{}\n",
        ipc.display()
    );
    assert_eq!(text, expected);
    // Without that capability nothing of it can be looked at.
    let mut other = bed.spec("ls /proc/1/root/ 2>/dev/null; readlink /proc/1/fd/0; true");
    other.pid = Namespace::Sandbox;
    let slot = bed.slot();
    let (stdio, out) = pipes();
    let running = bed.starter.start(slot, &other, &shared, stdio).unwrap();
    wait(&running);
    assert_eq!(read(out), "");
    bed.stop(&holder);
}

/// A container that may trace others watches its own process id namespace while processes are
/// started into it. None may show capabilities that the container has not: it could take them.
fn no_strong_process_is_ever_seen() {
    let mut bed = Bed::new();
    let mut watcher = bed.spec("");
    watcher.process.args = process(&["/probe", "probe", "watch"]).args;
    watcher.process.capabilities.push("SYS_PTRACE".into());
    let slot = bed.slot();
    let (stdio, out) = pipes();
    let running = bed
        .starter
        .start(slot, &watcher, &Shared::default(), stdio)
        .unwrap();
    let sh = |script| process(&["sh", "-c", script]);
    let ready = sh("while ! test -e /tmp/ready; do sleep 0.01; done");
    bed.exec(&running, &watcher, &ready).unwrap();
    for _ in 0..150 {
        bed.exec(&running, &watcher, &process(&["true"])).unwrap();
    }
    for _ in 0..30 {
        let mut spec = bed.spec("true");
        spec.pid = Namespace::Container("c1".into());
        let shared = Shared {
            pid: Some(running.pidfd.as_fd()),
            ipc: None,
        };
        let slot = bed.slot();
        let (stdio, _out) = pipes();
        let second = bed.starter.start(slot, &spec, &shared, stdio).unwrap();
        wait(&second);
        assert!(bed.starter.remove_container(slot).is_empty());
    }
    bed.exec(&running, &watcher, &sh("touch /tmp/stop"))
        .unwrap();
    let text = read(out);
    wait(&running);
    assert!(bed.starter.remove_container(slot).is_empty());
    let told: Vec<u64> = text
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    let [seen, strong, written] = told[..] else {
        panic!("{text}");
    };
    assert!(seen > 20, "{text}");
    assert_eq!((strong, written), (0, 0), "{text}");
}
