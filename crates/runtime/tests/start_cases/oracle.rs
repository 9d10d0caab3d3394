//! The same program, equally configured, under Debian's runc: what it sees and what it may call.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::Case;
use crate::bed::{Bed, process};
use windlass_runtime::start::DEFAULT_CAPABILITIES;

#[path = "../../src/start/seccomp/profile.rs"]
mod profile;

#[path = "../../src/start/seccomp/calls.rs"]
mod calls;

pub(crate) const CASES: &[Case] = &[
    ("system_calls_answer_as_under_runc", system_calls),
    ("a_program_sees_what_it_sees_under_runc", same_view),
];

/// The last number that the library behind Debian's runc knows, and two later ones that were put
/// into a gap below it: uretprobe and uprobe.
const KNOWN_TO_RUNC: u32 = 448;
const LATER: [u32; 2] = [335, 336];
/// `sync` waits for every disk of the machine, and may not come back before the probe's alarm.
const SLOW: u32 = 162;

fn system_calls() {
    let mut bed = Bed::new();
    let mut spec = bed.spec("");
    spec.process.args = process(&["/probe", "probe", "calls"]).args;
    let ours = bed.output(&spec);
    let theirs = runc(&bed, &["/probe", "probe", "calls"], &[]);
    let known = |line: &&str| match line.split_once(' ').unwrap().0.parse::<u32>() {
        Ok(number) => {
            number <= KNOWN_TO_RUNC
                && !LATER.contains(&number)
                && number != SLOW
                && calls::CALLS.iter().any(|(_, known)| *known == number)
        }
        Err(_) => true,
    };
    let ours: Vec<_> = ours.lines().filter(known).collect();
    let theirs: Vec<_> = theirs.lines().filter(known).collect();
    assert!(ours.len() > 350, "{}", ours.len());
    let different: Vec<_> = ours.iter().zip(&theirs).filter(|(a, b)| a != b).collect();
    assert!(
        different.is_empty() && ours.len() == theirs.len(),
        "{different:?}"
    );
    assert!(calls::number("read") == Some(0));
}

const VIEW: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|SigCgt|Umask)' \
    /proc/self/status; cat /proc/self/limits /proc/self/oom_score_adj; env | sort; pwd; hostname; \
    ls /proc/self/fd | wc -l; ls -l /dev | awk '{print $1,$3,$4,$5,$6,$9,$10,$11}' | \
    sed 's/ [0-9][0-9]:.*//' | grep -v total | grep -E '^[cl]' | awk '{print $1,$2,$3,$4,$5}'; \
    for m in /proc /dev /dev/pts /dev/shm /dev/mqueue /sys; do \
      grep \" $m \" /proc/mounts | awk '{print $2,$3,$4}' | sed 's/,relatime//;s/,inode64//'; \
    done; for f in kcore keys timer_list interrupts scsi acpi sched_debug latency_stats; do \
      test -e /proc/$f && echo $f $(head -c 1 /proc/$f 2>/dev/null | wc -c); done; \
    for f in /proc/sys/kernel/domainname /proc/sysrq-trigger /proc/irq/default_smp_affinity \
      /sys/kernel/mm/ksm/run /sys/fs/cgroup/memory/cgroup.procs; do \
      (echo x > $f) 2>&1 | sed 's/.*: //'; done; \
    mknod /tmp/b b 8 0; head -c 1 /tmp/b 2>&1 | sed 's/.*: //'; \
    mount -t tmpfs x /tmp 2>&1 | sed 's/.*: //'; ls /proc/self/task | wc -l";

fn same_view() {
    let mut bed = Bed::new();
    std::os::unix::fs::symlink("busybox", bed.base().join("bin/sed")).unwrap();
    let env = ["HOME=/root", "PATH=/bin", "A=b c"];
    let mut spec = bed.spec(VIEW);
    spec.process.env = env.map(String::from).to_vec();
    let ours = bed.output(&spec);
    let theirs = runc(&bed, &["/bin/sh", "-c", VIEW], &env);
    let different: Vec<_> = ours
        .lines()
        .zip(theirs.lines())
        .filter(|(a, b)| a != b)
        .collect();
    assert!(different.is_empty(), "{different:#?}\n{ours}\n{theirs}");
    assert_eq!(ours.lines().count(), theirs.lines().count());
    assert!(ours.lines().count() > 60, "{ours}");
}

/// Runs a program in the bed's base image.
fn runc(bed: &Bed, args: &[&str], env: &[&str]) -> String {
    let output = runc_output(bed, args, env);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!text.is_empty(), "{errors}");
    text
}

pub(crate) fn runc_output(bed: &Bed, args: &[&str], env: &[&str]) -> std::process::Output {
    let bundle = bed.folder.join("bundle");
    fs::create_dir_all(&bundle).unwrap();
    let config = configuration(&bed.base().display().to_string(), args, env);
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let name = format!("windlass-oracle-{}", std::process::id());
    Command::new("runc")
        .args(["--root", &bed.folder.join("runc").display().to_string()])
        .args(["run", "--bundle", &bundle.display().to_string(), &name])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("package runc")
}

fn configuration(root: &str, args: &[&str], env: &[&str]) -> Value {
    let capabilities: Vec<_> = DEFAULT_CAPABILITIES.map(|c| format!("CAP_{c}")).to_vec();
    let tmpfs = |target: &str, options: &[&str]| json!({"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options});
    let quiet = ["nosuid", "noexec", "nodev"];
    let namespaces =
        ["pid", "ipc", "uts", "mount", "network", "cgroup"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "hostname": "box",
        "root": {"path": root},
        "process": {
            "args": args, "env": env, "cwd": "/", "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
            "oomScoreAdj": 0,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": quiet},
            tmpfs("/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options":
                ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["ro", "nosuid", "noexec", "nodev"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": quiet},
            tmpfs("/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ],
        "linux": {
            "cgroupsPath": format!("/windlass-start-{}-oracle", std::process::id()),
            "namespaces": namespaces,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore",
                "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
                "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
                "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                "/proc/sysrq-trigger"],
            "seccomp": seccomp(),
        },
    })
}

/// The product's profile in runc's form.
fn seccomp() -> Value {
    let names = |list: &str| {
        list.split_whitespace()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let mut rules = vec![json!({"names": names(profile::ALLOWED), "action": "SCMP_ACT_ALLOW"})];
    for (capability, list) in profile::BY_CAPABILITY {
        if DEFAULT_CAPABILITIES.contains(&capability) {
            rules.push(json!({"names": names(list), "action": "SCMP_ACT_ALLOW"}));
        }
    }
    for name in profile::ABSENT {
        rules.push(json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
    }
    for (name, index, tests) in profile::BY_ARGUMENT {
        for test in tests {
            let argument = match *test {
                profile::Test::Equal(value) => json!({"value": value, "op": "SCMP_CMP_EQ"}),
                profile::Test::Below(value) => json!({"value": value, "op": "SCMP_CMP_LT"}),
                profile::Test::Above(value) => json!({"value": value, "op": "SCMP_CMP_GT"}),
                profile::Test::Without(mask) => {
                    json!({"value": mask, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"})
                }
            };
            let mut argument = argument;
            argument["index"] = json!(index);
            rules.push(json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}));
        }
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules
    })
}
