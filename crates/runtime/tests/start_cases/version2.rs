//! The v2 way on a hybrid host: the cases that need no controller, run again where only the v2
//! hierarchy is mounted. Limits and out-of-memory there need a v2 host.

use std::process::Command;

use crate::Case;

pub(crate) const CASES: &[Case] = &[("version_2_alone", alone)];

/// Cases that stand without controllers.
const AGAIN: &[&str] = &[
    "hello",
    "exec_sees",
    "terminal",
    "init_reaps",
    "kill_all",
    "parked_unused",
    "confined_alike",
    "masks_and_devices",
    "privileged",
    "shared",
    "a_group_in_use",
];

fn alone() {
    // A host with v2 alone has run every case that way.
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return;
    }
    let output = Command::new("/proc/self/exe")
        .arg("--v2")
        .args(AGAIN)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.matches("... ok").count() >= AGAIN.len(), "{text}");
}

/// Moves this process to a mount namespace whose /sys/fs/cgroup is v2 alone.
pub(crate) fn enter() {
    use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
    // SAFETY: this process has one thread; only its mounts are unshared.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
    rustix::mount::unmount("/sys/fs/cgroup", UnmountFlags::DETACH).unwrap();
    rustix::mount::mount(
        "cgroup2",
        "/sys/fs/cgroup",
        "cgroup2",
        MountFlags::empty(),
        None,
    )
    .unwrap();
}
