//! How long a start and an exec take on this machine, from the call to execve, in milliseconds.
//! Needs root and busybox-static. `cargo run --release -p windlass-runtime --example start_times [n]`

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/start_cases/bed.rs"]
mod bed;

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use windlass_runtime::spec::{ContainerSpec, Mount, MountKind};
use windlass_runtime::start::{Shared, seal_self};

/// A pause after which joining a v1 group waits for the machine again.
const COLD: Duration = Duration::from_millis(50);

fn main() {
    let args: Vec<CString> = std::env::args_os()
        .map(|arg| CString::new(arg.into_vec()).unwrap())
        .collect();
    let args: Vec<_> = args.iter().map(CString::as_c_str).collect();
    seal_self(&args).unwrap();
    let count = std::env::args()
        .nth(1)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(100);
    starts("start, no pause", count, Duration::ZERO, false);
    starts("start, 50 ms pause", count / 2, COLD, false);
    starts("start, parked, 50 ms pause", count / 2, COLD, true);
    execs("exec, no pause", count, Duration::ZERO);
    execs("exec, 50 ms pause", count / 2, COLD);
}

/// Two layers, two binds, one memory file system, two sysctls, masks and the seccomp filter.
fn spec(bed: &mut bed::Bed) -> ContainerSpec {
    let mut spec = bed.spec("");
    spec.process.args = bed::process(&["/bin/true"]).args;
    let bind = |target: &str| Mount {
        target: target.into(),
        kind: MountKind::Bind {
            source: "/etc/hostname".into(),
        },
        readonly: true,
    };
    spec.mounts = vec![
        bind("/etc/hosts"),
        bind("/etc/resolv.conf"),
        Mount {
            target: "/tmp".into(),
            kind: MountKind::Tmpfs {
                size_bytes: 1 << 20,
                options: Vec::new(),
            },
            readonly: false,
        },
    ];
    spec.sysctls = vec![
        ("net.core.somaxconn".into(), "77".into()),
        ("kernel.msgmax".into(), "9999".into()),
    ];
    spec.limits.memory_bytes = Some(64 << 20);
    spec.limits.pids = Some(64);
    spec
}

fn starts(name: &str, count: usize, pause: Duration, park: bool) {
    let mut bed = bed::Bed::new();
    let mut times = Vec::new();
    for _ in 0..count {
        let spec = spec(&mut bed);
        let slot = bed.slot();
        if park {
            bed.starter.park(slot).unwrap();
        }
        std::thread::sleep(pause);
        let (stdio, out) = bed::pipes();
        let before = Instant::now();
        let running = bed
            .starter
            .start(slot, &spec, &Shared::default(), stdio)
            .unwrap();
        times.push(before.elapsed());
        bed::read(out);
        bed::wait(&running);
        bed.starter.remove_container(slot);
    }
    print(name, times);
}

fn execs(name: &str, count: usize, pause: Duration) {
    let mut bed = bed::Bed::new();
    let mut spec = spec(&mut bed);
    spec.process.args = bed::process(&["/bin/sleep", "1000"]).args;
    let running = bed.start(&spec);
    let mut times = Vec::new();
    for _ in 0..count {
        std::thread::sleep(pause);
        let (stdio, out) = bed::pipes();
        let before = Instant::now();
        let exec = bed
            .starter
            .exec(&running, &spec, &bed::process(&["/bin/true"]), stdio)
            .unwrap();
        times.push(before.elapsed());
        bed::read(out);
        bed::wait(&exec);
    }
    bed.stop(&running);
    print(name, times);
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| {
        let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, |t| t.as_secs_f64() * 1000.0)
    };
    println!(
        "{name:30} min {:6.2}  p50 {:6.2}  p99 {:6.2}  n {}",
        at(0),
        at(50),
        at(99),
        times.len()
    );
}
