//! Settings of the v2 hierarchy.

use super::{Layout, get, keyed, set};
use crate::spec::{Limits, Oom};
use crate::start::{StartError, failed};

/// Controllers handed down to containers; those a kernel lacks are left out, and a limit that needs
/// one then fails by its missing file.
const CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "io"];

/// Processor period when only a quota is given, the kernel's default, microseconds.
const PERIOD_US: u64 = 100_000;

/// Hands the controllers down from the root to the children of `path`.
pub(super) fn delegate(layout: &Layout, path: &str) -> Result<(), StartError> {
    let mut folder = layout.folder("", "").unwrap_or_default();
    let root = folder.clone();
    let available = get(&root, "cgroup.controllers").unwrap_or_default();
    let parts = path.split('/').filter(|part| !part.is_empty());
    for part in parts.map(Some).chain([None]) {
        let enabled = get(&folder, "cgroup.subtree_control").unwrap_or_default();
        let has = |list: &str, name: &str| list.split_whitespace().any(|known| known == name);
        let missing: Vec<_> = CONTROLLERS
            .iter()
            .filter(|name| has(&available, name) && !has(&enabled, name))
            .map(|name| format!("+{name}"))
            .collect();
        if !missing.is_empty() {
            set(&folder, "cgroup.subtree_control", missing.join(" "))?;
        }
        if let Some(part) = part {
            folder = format!("{folder}/{part}");
        }
    }
    Ok(())
}

pub(super) fn limit(layout: &Layout, path: &str, limits: &Limits) -> Result<(), StartError> {
    let folder = layout.folder("", path).unwrap_or_default();
    if limits.swappiness.is_some() {
        return Err(failed(
            "cgroup",
            libc::ENOTSUP,
            "swappiness: cgroup v2 has no such setting",
        ));
    }
    if let Some(bytes) = limits.memory_bytes {
        set(&folder, "memory.max", bytes)?;
    }
    if let Some(bytes) = limits.memory_reservation_bytes {
        set(&folder, "memory.low", bytes)?;
    }
    if let Some(bytes) = limits.swap_bytes {
        match set(&folder, "memory.swap.max", bytes) {
            // A kernel without swap has no such file, and no swap to limit.
            Err(error) if error.errno != libc::ENOENT => return Err(error),
            _ => {}
        }
    }
    if limits.cpu_quota_us.is_some() || limits.cpu_period_us.is_some() {
        set(&folder, "cpu.max", cpu_max(limits))?;
    }
    if let Some(pids) = limits.pids {
        set(&folder, "pids.max", pids)?;
    }
    Ok(())
}

/// Docker's conversion of v1 shares, 2 to 262144, to a weight, 1 to 10000.
pub(super) fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn cpu_max(limits: &Limits) -> String {
    let quota = limits
        .cpu_quota_us
        .map_or("max".to_owned(), |quota| quota.to_string());
    format!("{quota} {}", limits.cpu_period_us.unwrap_or(PERIOD_US))
}

pub(super) fn oom(folder: &str, parent: &str) -> Option<Oom> {
    let kills = keyed(&get(folder, "memory.events")?, "oom_kill")?;
    if kills == 0 {
        return None;
    }
    // "max" does not parse, which is as good as no limit here.
    let number = |folder, file| get(folder, file).and_then(|text| text.trim().parse::<u64>().ok());
    Some(Oom {
        // memory.peak came with 5.19.
        peak_bytes: number(folder, "memory.peak")
            .or_else(|| number(folder, "memory.current"))
            .unwrap_or(0),
        limit_bytes: number(folder, "memory.max")
            .or_else(|| number(parent, "memory.max"))
            .unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        for (shares, want) in [
            (0, 1),
            (2, 1),
            (1024, 39),
            (262_144, 10_000),
            (1 << 40, 10_000),
        ] {
            assert_eq!(weight(shares), want, "{shares}");
        }
    }

    #[test]
    fn quotas_become_one_line() {
        let limits = |quota, period| Limits {
            cpu_quota_us: quota,
            cpu_period_us: period,
            ..Limits::default()
        };
        assert_eq!(cpu_max(&limits(Some(5000), None)), "5000 100000");
        assert_eq!(cpu_max(&limits(None, Some(9))), "max 9");
    }
}
