//! What a machine must have before `windlass up` begins, each fault with its mend.

use crate::data_folder;
use anyhow::{Context, Error, Result, anyhow, bail};
use std::fs;
use std::path::Path;

/// The first with mount_setattr, by which a shim seals its executable.
const KERNEL_MIN: (u32, u32) = (5, 12);

/// Checks all, and tells all that is wrong at once. `is_new` says that nothing was served from the
/// folder yet; `not_bound` why the API's address could not be had.
pub(crate) fn check(data: &Path, is_new: bool, not_bound: Option<&Error>) -> Result<()> {
    let folder = data_folder::prepare(data);
    // One that serves already starts on a full disk too: it has set room aside.
    let disk = match (&folder, is_new) {
        (Ok(()), true) => disk(data),
        _ => Ok(()),
    };
    let faults: Vec<String> = [
        kernel(),
        cgroups(),
        nftables(),
        forwarding(),
        overlay(),
        folder,
        disk,
        not_bound.map_or(Ok(()), |err| Err(anyhow!("{err:#}"))),
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

/// Whether the process may do what tasks need.
pub(crate) fn root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!("you are not root, which containers need: run it again with sudo");
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
    let missing: Vec<&str> = ["cpu", "cpuset", "memory", "pids", "devices", "freezer"]
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

/// Asks for the tables, by which a kernel that has them as a module loads it.
fn nftables() -> Result<()> {
    windlass_network::check_kernel()
        .context("the kernel has no nf_tables: load it with `modprobe nf_tables`")
}

/// Packets of tasks are forwarded; it is turned on while tasks are served.
fn forwarding() -> Result<()> {
    let path = "/proc/sys/net/ipv4/ip_forward";
    let is_on = fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
    let may_turn_on = || fs::OpenOptions::new().write(true).open(path);
    if is_on {
        return Ok(());
    }
    may_turn_on().map(drop).with_context(|| {
        format!(
            "{path} is 0 and cannot be changed from here: turn forwarding on outside, with \
             `sysctl -w net.ipv4.ip_forward=1`"
        )
    })
}

/// Room for the reserve, below which nothing may be added, and to set some aside at once.
fn disk(data: &Path) -> Result<()> {
    use windlass_store::limits::{BALLAST_BYTES, RESERVE_BYTES, begin_bytes};
    let need = begin_bytes(RESERVE_BYTES, BALLAST_BYTES);
    let free = windlass_store::Disk::of(data).free_bytes()?;
    if free >= need {
        return Ok(());
    }
    bail!(
        "the disk of {} has {} MiB free, and {} MiB are needed to begin: free some space, or choose \
         a folder on another disk with --data",
        data.display(),
        free >> 20,
        need >> 20
    );
}

/// Asks for the file system, by which a kernel that has it as a module loads it.
fn overlay() -> Result<()> {
    match rustix::mount::fsopen("overlay", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => Ok(()),
        Err(err) => bail!("the kernel has no overlayfs ({err}): load it with `modprobe overlay`"),
    }
}
