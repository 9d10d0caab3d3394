//! What the tasks of an installation may have together.

use std::fs;

use super::{Layout, check_parent, make_folders, set, v2};
use crate::start::{StartError, failed};

/// The part of the machine's process ids that stays for everything else: each task is bounded, but a
/// few of them would take them all.
const KEPT_PART: u64 = 8;

/// Bounds the processes and threads of an installation's tasks, on cgroup v2 with its shims, below
/// what the kernel gives out. `path` is the installation's group, which is made.
///
/// # Errors
/// What the kernel says; `ENOENT` where it cannot count processes.
pub fn bound_processes(path: &str) -> Result<(), StartError> {
    check_parent(path)?;
    let layout = Layout::read()?;
    for hierarchy in &layout.hierarchies {
        if hierarchy.has("pids") || layout.v2_only {
            make_folders(hierarchy, path)?;
        }
    }
    if layout.v2_only {
        v2::delegate(&layout, path)?;
    }
    let folder = layout.folder("pids", path).unwrap_or_default();
    set(&folder, "pids.max", processes_max()?)
}

/// The kernel counts processes and threads alike, by two limits.
fn processes_max() -> Result<u64, StartError> {
    let least = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .min();
    let all = least.ok_or_else(|| failed("cgroup", libc::ENOENT, "/proc/sys/kernel/pid_max"))?;
    Ok(all - all / KEPT_PART)
}
