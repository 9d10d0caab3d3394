//! What a machine must have before `windlass up` begins, each fault with its mend.

use crate::data_folder;
use anyhow::{Result, bail};
use std::fs;
use std::path::Path;

/// The first with mount_setattr, by which a shim seals its executable.
const KERNEL_MIN: (u32, u32) = (5, 12);

/// Checks all, and tells all that is wrong at once.
pub(crate) fn check(data: &Path) -> Result<()> {
    let faults: Vec<String> = [
        root(),
        kernel(),
        cgroups(),
        nftables(),
        overlay(),
        data_folder::prepare(data),
    ]
    .into_iter()
    .filter_map(Result::err)
    .map(|fault| format!("- {fault:#}"))
    .collect();
    if faults.is_empty() {
        return Ok(());
    }
    bail!("this machine cannot run tasks yet:\n{}", faults.join("\n"));
}

fn root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!("not root: namespaces and cgroups need it; run it with sudo");
}

fn kernel() -> Result<()> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_MIN {
        return Ok(());
    }
    bail!(
        "kernel {release} is too old: {}.{} or newer is needed",
        KERNEL_MIN.0,
        KERNEL_MIN.1
    );
}

fn cgroups() -> Result<()> {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers");
    if let Ok(controllers) = fs::read_to_string(v2) {
        let missing: Vec<&str> = ["cpu", "memory", "pids"]
            .into_iter()
            .filter(|wanted| !controllers.split_whitespace().any(|have| have == *wanted))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        bail!(
            "cgroup v2 lacks the controllers {}: boot without cgroup_disable=, and not with both \
             cgroup versions mounted",
            missing.join(", ")
        );
    }
    let missing: Vec<&str> = ["cpu", "memory", "pids", "devices", "freezer"]
        .into_iter()
        .filter(|wanted| {
            !Path::new("/sys/fs/cgroup")
                .join(wanted)
                .join("tasks")
                .exists()
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "no cgroups: /sys/fs/cgroup has neither cgroup v2 nor the v1 controllers {}; mount them \
         (`mount -t cgroup2 none /sys/fs/cgroup`)",
        missing.join(", ")
    );
}

fn nftables() -> Result<()> {
    // The kernel part alone is used; a module may load at the first use.
    let built_in = fs::read_to_string("/proc/net/netfilter/nf_log").is_ok();
    if built_in || Path::new("/proc/sys/net/netfilter").exists() {
        return Ok(());
    }
    bail!("the kernel has no netfilter: load it with `modprobe nf_tables`");
}

/// Asks for the file system, by which a kernel that has it as a module loads it.
fn overlay() -> Result<()> {
    match rustix::mount::fsopen("overlay", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => Ok(()),
        Err(err) => bail!("the kernel has no overlayfs ({err}): load it with `modprobe overlay`"),
    }
}
