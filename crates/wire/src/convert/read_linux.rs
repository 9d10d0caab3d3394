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
    let capabilities_given = given.capabilities.is_some();
    let capabilities = given.capabilities.unwrap_or_default();
    let tmpfs = list(given.tmpfs)
        .map(|given| {
            given
                .into_iter()
                .map(|given| tmpfs(container, given))
                .collect()
        })
        .transpose()?;
    Ok(LinuxParameters {
        capabilities_add: list(capabilities.add),
        capabilities_drop: list(capabilities.drop),
        capabilities_given,
        devices: list(given.devices).map(|devices| devices.into_iter().map(device).collect()),
        init_process_enabled: given.init_process_enabled,
        shared_memory_size_mib: amount(container, "sharedMemorySize", given.shared_memory_size)?,
        tmpfs,
        max_swap_mib,
        swappiness,
    })
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
        mount_options: list(given.mount_options),
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
