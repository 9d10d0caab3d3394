//! Capabilities: names to sets, and the two steps that take them away.

use super::kernel::{Sys, capset, prctl};

/// What a container has unless its task definition adds or drops: the field's fourteen.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Every capability, in the order of its number.
pub const CAPABILITIES: [&str; 41] = windlass_model::capability::NAMES;

/// The set of the names, bit n for capability n; `Err` is the name that is none. ECS's `ALL` is
/// every capability.
pub(super) fn set(names: &[String]) -> Result<u64, &str> {
    names.iter().try_fold(0, |set, name| {
        if name == "ALL" {
            return Ok(ALL);
        }
        CAPABILITIES
            .iter()
            .position(|known| known == name)
            .map(|number| set | 1 << number)
            .ok_or(name.as_str())
    })
}

/// Every capability this program knows.
pub(super) const ALL: u64 = (1 << CAPABILITIES.len()) - 1;

/// What a capability set is cut to. A process cannot raise what it does not have, so a privileged
/// container gets what the shim has.
pub(super) fn own() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

/// The greatest capability number of the running kernel.
pub(super) fn last() -> u64 {
    std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(CAPABILITIES.len() as u64 - 1)
        .min(63)
}

/// Takes everything outside `keep` from the bounding set. Needs SETPCAP, which [`apply`] may take.
pub(super) fn drop_bounding(keep: u64, last: u64) -> Sys<()> {
    for number in 0..=last {
        if keep >> number & 1 == 0 {
            prctl(libc::PR_CAPBSET_DROP, number)?;
        }
    }
    Ok(())
}

/// Permitted and, for root, effective become `keep`; inheritable and ambient become empty.
///
/// Another user's effective set is empty after execve whatever stands here, as its permitted one;
/// what it keeps is the bounding set.
pub(super) fn apply(keep: u64) -> Sys<()> {
    capset(keep, keep, 0)?;
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_bits() {
        let names = |list: &[&str]| list.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(
            set(&names(&["CHOWN", "CHECKPOINT_RESTORE"])),
            Ok(1 << 40 | 1)
        );
        assert_eq!(set(&names(&DEFAULT_CAPABILITIES)), Ok(0xa804_25fb));
        assert_eq!(set(&names(&["ALL"])), Ok(0x1ff_ffff_ffff));
        assert_eq!(set(&names(&["chown"])), Err("chown"));
        assert_eq!(set(&names(&["CAP_CHOWN"])), Err("CAP_CHOWN"));
    }
}
