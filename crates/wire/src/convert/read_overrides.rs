//! What a request changes of its task definition. Whether the whole still holds is the cluster's to
//! say, which has the definition.

use super::read_container::{MEMORY_MIB_MIN, resource_requirements};
use super::read_definition::{cpu_units, ephemeral_storage, memory_mib, override_environment};
use super::read_environment::environment_files;
use super::read_role::role;
use crate::error::ApiError;
use crate::shapes::task_override as wire;
use std::collections::BTreeSet;
use windlass_model::arn::Scope;
use windlass_model::container::KeyValue;
use windlass_model::id::Name;
use windlass_model::limits;
use windlass_model::task::{ContainerOverride, TaskOverrides};

pub(super) fn overrides(
    scope: &Scope,
    given: Option<wire::TaskOverride>,
) -> Result<TaskOverrides, ApiError> {
    let Some(given) = given else {
        return Ok(TaskOverrides::default());
    };
    let length = serde_json::to_string(&given).map_or(0, |text| text.len());
    if length > limits::OVERRIDES_BYTES_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "The overrides have {length} characters. The maximum is {}.",
            limits::OVERRIDES_BYTES_MAX
        )));
    }
    let invalid = |err: ApiError| ApiError::invalid_parameter(err.message);
    Ok(TaskOverrides {
        containers: container_overrides(given.container_overrides)?,
        cpu: given
            .cpu
            .as_deref()
            .map(cpu_units)
            .transpose()
            .map_err(invalid)?,
        memory: given
            .memory
            .as_deref()
            .map(memory_mib)
            .transpose()
            .map_err(invalid)?,
        execution_role: role(scope, given.execution_role_arn).map_err(invalid)?,
        task_role: role(scope, given.task_role_arn).map_err(invalid)?,
        ephemeral_storage_gib: given
            .ephemeral_storage
            .map(ephemeral_storage)
            .transpose()
            .map_err(invalid)?,
        inference_accelerators: given
            .inference_accelerator_overrides
            .unwrap_or_default()
            .into_iter()
            .map(|given| KeyValue {
                name: given.device_name.unwrap_or_default(),
                value: given.device_type.unwrap_or_default(),
            })
            .collect(),
    })
}

fn container_overrides(
    given: Option<Vec<wire::ContainerOverride>>,
) -> Result<Vec<ContainerOverride>, ApiError> {
    let mut names = BTreeSet::new();
    let mut overrides = Vec::new();
    for given in given.unwrap_or_default() {
        let read =
            container_override(given).map_err(|err| ApiError::invalid_parameter(err.message))?;
        if !names.insert(read.name.clone()) {
            return Err(ApiError::invalid_parameter(format!(
                "Container {} is overridden more than once.",
                read.name
            )));
        }
        overrides.push(read);
    }
    Ok(overrides)
}

fn container_override(given: wire::ContainerOverride) -> Result<ContainerOverride, ApiError> {
    let text = given.name.unwrap_or_default();
    let name = Name::new(&text).map_err(|_| {
        ApiError::invalid_parameter(format!(
            "Override for container named {text} is not a container in the TaskDefinition."
        ))
    })?;
    let amount = |field: &str, given: Option<i32>| {
        given
            .map(|amount| {
                u32::try_from(amount).map_err(|_| {
                    ApiError::invalid_parameter(format!(
                        "Override of '{field}' for container {name} must not be negative."
                    ))
                })
            })
            .transpose()
    };
    let memory = |field: &str, given: Option<i32>| match amount(field, given)? {
        Some(mib) if mib < MEMORY_MIB_MIN => Err(ApiError::invalid_parameter(format!(
            "Override of '{field}' for container {name} must be at least {MEMORY_MIB_MIN} MiB."
        ))),
        mib => Ok(mib),
    };
    let command = given.command.filter(|command| !command.is_empty());
    if command.iter().flatten().any(|word| word.contains('\0')) {
        return Err(ApiError::invalid_parameter(format!(
            "Override of 'command' for container {name} contains a NUL character."
        )));
    }
    Ok(ContainerOverride {
        command,
        cpu: amount("cpu", given.cpu)?,
        memory: memory("memory", given.memory)?,
        memory_reservation: memory("memoryReservation", given.memory_reservation)?,
        environment: override_environment(&name, given.environment)?,
        environment_files: given
            .environment_files
            .map(|files| environment_files(Some(files)))
            .transpose()?,
        resource_requirements: given.resource_requirements.map(resource_requirements),
        name,
    })
}
