//! Kernel parameters: those of a namespace that the container has, and no other.
//! Source: ECS API, SystemControl.

use crate::check::quoted;
use crate::error::ApiError;
use std::collections::BTreeSet;
use windlass_model::container::{ContainerDefinition, KeyValue};
use windlass_model::definition::{NetworkMode, SharingMode, Template};
use windlass_model::kernel_parameter::{Owner, is_name, owner};

pub(super) fn check_system_controls(template: &Template) -> Result<(), ApiError> {
    for container in &template.containers {
        let mut named = BTreeSet::new();
        for control in &container.system_controls {
            if !named.insert(&control.name) {
                return Err(refused(container, control, "is given twice"));
            }
            check(template, container, control)?;
        }
    }
    Ok(())
}

fn check(
    template: &Template,
    container: &ContainerDefinition,
    control: &KeyValue,
) -> Result<(), ApiError> {
    let owner = owner(&control.name).filter(|_| is_name(&control.name));
    let Some(owner) = owner else {
        let why = "is no parameter of a container: those are net.*, fs.mqueue.* and the \
                   kernel's of System V IPC";
        return Err(refused(container, control, why));
    };
    if owner == Owner::Network && template.network() == NetworkMode::Host {
        let why = "is not supported when networkMode=host";
        return Err(refused(container, control, why));
    }
    if owner == Owner::Ipc && template.ipc_mode == Some(SharingMode::Host) {
        let why = "is not supported when ipcMode=host";
        return Err(refused(container, control, why));
    }
    if control.value.is_empty() {
        return Err(refused(container, control, "has no value"));
    }
    Ok(())
}

fn refused(container: &ContainerDefinition, control: &KeyValue, why: &str) -> ApiError {
    ApiError::client(format!(
        "Container '{}': systemControls namespace '{}' {why}.",
        container.name,
        quoted(&control.name)
    ))
}
