//! Kernel parameters: those of a namespace that the container has, and no other.
//! Source: ECS API, SystemControl.

use crate::check::quoted;
use crate::error::ApiError;
use std::collections::BTreeSet;
use windlass_model::container::{ContainerDefinition, KeyValue};
use windlass_model::definition::{NetworkMode, SharingMode, Template};

/// Parameters of the ipc namespace, and one prefix beside them: `fs.mqueue.`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

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
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let part = |part: &str| !part.is_empty() && part.bytes().all(letter);
    let name = control.name.as_str();
    let network = name.starts_with("net.");
    let ipc = IPC.contains(&name) || name.starts_with("fs.mqueue.");
    if !name.split('.').all(part) || !(network || ipc) {
        let why = "is no parameter of a container: those are net.*, fs.mqueue.* and the \
                   kernel's of System V IPC";
        return Err(refused(container, control, why));
    }
    if network && template.network() == NetworkMode::Host {
        let why = "is not supported when networkMode=host";
        return Err(refused(container, control, why));
    }
    if ipc && template.ipc_mode == Some(SharingMode::Host) {
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
