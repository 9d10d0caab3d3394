//! Settings of v1 hierarchies.

use std::os::fd::{AsRawFd, OwnedFd};

use super::device::Rule;
use super::{Layout, get, keyed, set};
use crate::spec::{Limits, Oom};
use crate::start::kernel;
use crate::start::{OrFailed, StartError, cstring, failed, owned};

/// Memory limits at and above this are the kernel's way to say none.
const UNLIMITED_FROM: u64 = 1 << 62;

pub(super) fn limit(layout: &Layout, path: &str, limits: &Limits) -> Result<(), StartError> {
    let folder = |controller: &str| {
        layout.folder(controller, path).ok_or_else(|| {
            failed(
                "cgroup",
                libc::ENODEV,
                format!("v1 controller {controller} is not mounted"),
            )
        })
    };
    memory(&folder("memory")?, limits)?;
    let cpu = folder("cpu")?;
    if let Some(period) = limits.cpu_period_us {
        set(&cpu, "cpu.cfs_period_us", period)?;
    }
    if let Some(quota) = limits.cpu_quota_us {
        set(&cpu, "cpu.cfs_quota_us", quota)?;
    }
    if let Some(pids) = limits.pids {
        set(&folder("pids")?, "pids.max", pids)?;
    }
    Ok(())
}

fn memory(folder: &str, limits: &Limits) -> Result<(), StartError> {
    if let Some(bytes) = limits.memory_bytes {
        let both = limits.swap_bytes.map(|swap| bytes.saturating_add(swap));
        // Memory may never exceed memory plus swap, so what is raised goes second.
        if set(folder, "memory.limit_in_bytes", bytes).is_err() {
            swap(folder, both)?;
            set(folder, "memory.limit_in_bytes", bytes)?;
        } else {
            swap(folder, both)?;
        }
    }
    if let Some(bytes) = limits.memory_reservation_bytes {
        set(folder, "memory.soft_limit_in_bytes", bytes)?;
    }
    if let Some(percent) = limits.swappiness {
        set(folder, "memory.swappiness", percent)?;
    }
    Ok(())
}

/// A kernel without swap accounting has no such file and cannot limit swap; the field starts the
/// container all the same.
fn swap(folder: &str, memory_and_swap: Option<u64>) -> Result<(), StartError> {
    match memory_and_swap.map(|bytes| set(folder, "memory.memsw.limit_in_bytes", bytes)) {
        Some(Err(error)) if error.errno != libc::ENOENT => Err(error),
        _ => Ok(()),
    }
}

/// Copies processors and memory nodes down the path: a new folder has none, and joining it fails.
pub(super) fn inherit_cpuset(layout: &Layout, path: &str) -> Result<(), StartError> {
    let Some(mut above) = layout.folder("cpuset", "") else {
        return Ok(());
    };
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let below = format!("{above}/{part}");
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if get(&below, file).is_none_or(|value| value.trim().is_empty()) {
                let value = get(&above, file).unwrap_or_default();
                set(&below, file, value.trim())?;
            }
        }
        above = below;
    }
    Ok(())
}

/// Allows the devices of `rules` alone, or every one for `None`.
pub(super) fn set_devices(
    layout: &Layout,
    path: &str,
    rules: Option<&[Rule]>,
) -> Result<(), StartError> {
    let folder = layout.folder("devices", path).unwrap_or_default();
    let Some(rules) = rules else {
        return set(&folder, "devices.allow", "a");
    };
    set(&folder, "devices.deny", "a")?;
    for rule in rules {
        set(&folder, "devices.allow", rule.v1_text())?;
    }
    Ok(())
}

pub(super) fn oom(folder: &str, parent: &str) -> Option<Oom> {
    let kills = keyed(&get(folder, "memory.oom_control")?, "oom_kill")?;
    if kills == 0 {
        return None;
    }
    let number = |folder, file| get(folder, file).and_then(|text| text.trim().parse::<u64>().ok());
    let limited =
        |folder| number(folder, "memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED_FROM);
    Some(Oom {
        peak_bytes: number(folder, "memory.max_usage_in_bytes").unwrap_or(0),
        limit_bytes: limited(folder).or(limited(parent)).unwrap_or(0),
    })
}

pub(super) fn oom_events(folder: &str) -> Result<OwnedFd, StartError> {
    let file = format!("{folder}/memory.oom_control");
    let control = kernel::open(&cstring("cgroup", &file)?, libc::O_RDONLY)
        .map(owned)
        .or_failed("cgroup", || file)?;
    let events = kernel::eventfd()
        .map(owned)
        .or_failed("cgroup", || "eventfd".into())?;
    let registration = format!("{} {}", events.as_raw_fd(), control.as_raw_fd());
    set(folder, "cgroup.event_control", registration)?;
    Ok(events)
}
