//! Linux parameters of a container.

use super::read_container::{amount, list, text};
use crate::error::ApiError;
use crate::shapes::linux_parameters as linux;
use windlass_model::container::{Device, LinuxParameters, Tmpfs};
use windlass_model::id::Name;

pub(super) fn linux_parameters(
    container: &Name,
    given: linux::LinuxParameters,
) -> Result<LinuxParameters, ApiError> {
    let max_swap_mib = amount(container, "maxSwap", given.max_swap)?;
    let swappiness = amount(container, "swappiness", given.swappiness)?;
    if swappiness.is_some_and(|value| value > 100) {
        return Err(ApiError::client(format!(
            "Container '{container}': swappiness must be between 0 and 100."
        )));
    }
    let mut capabilities = given.capabilities;
    let tmpfs = given
        .tmpfs
        .map(|given| {
            given
                .into_iter()
                .map(|given| tmpfs(container, given))
                .collect()
        })
        .transpose()?;
    Ok(LinuxParameters {
        capabilities_given: capabilities.is_some(),
        capabilities_add: capabilities.as_mut().and_then(|given| given.add.take()),
        capabilities_drop: capabilities.and_then(|given| given.drop),
        devices: given
            .devices
            .map(|devices| devices.into_iter().map(device).collect()),
        init_process_enabled: given.init_process_enabled,
        shared_memory_size_mib: amount(container, "sharedMemorySize", given.shared_memory_size)?,
        tmpfs,
        max_swap_mib,
        swappiness,
    })
}

/// Mount options of a tmpfs. Source: ECS API, `Tmpfs`, `mountOptions`.
const TMPFS_OPTIONS: [&str; 33] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];

/// Those with a value.
const TMPFS_SETTINGS: [&str; 6] = ["mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// One text may hold several, as mount(8) takes them: the container engine gets them joined.
fn tmpfs_options(
    container: &Name,
    given: Option<Vec<String>>,
) -> Result<Option<Vec<String>>, ApiError> {
    let known = |option: &str| match option.split_once('=') {
        Some((key, _)) => TMPFS_SETTINGS.contains(&key),
        None => TMPFS_OPTIONS.contains(&option) || TMPFS_SETTINGS.contains(&option),
    };
    let options = list(given);
    let mut single = options.iter().flatten().flat_map(|text| text.split(','));
    match single.find(|option| !known(option)) {
        None => Ok(options),
        Some(option) => Err(ApiError::client(format!(
            "Container '{container}': '{option}' is not a valid mount option of a tmpfs."
        ))),
    }
}

fn tmpfs(container: &Name, given: linux::Tmpfs) -> Result<Tmpfs, ApiError> {
    let size_mib = amount(container, "tmpfs size", given.size)?.filter(|size| *size > 0);
    Ok(Tmpfs {
        container_path: given.container_path.unwrap_or_default(),
        size_mib: size_mib.ok_or_else(|| {
            ApiError::client(format!(
                "Container '{container}': a tmpfs needs a size above 0 MiB."
            ))
        })?,
        mount_options: tmpfs_options(container, given.mount_options)?,
    })
}

fn device(given: linux::Device) -> Device {
    Device {
        host_path: given.host_path.unwrap_or_default(),
        container_path: text(given.container_path),
        permissions: list(given.permissions)
            .map(|given| given.into_iter().map(|p| p.as_str().to_owned()).collect()),
    }
}
