//! RegisterTaskDefinition's request: every field decoded, validated and normalised once. Nearly
//! every failure is a `ClientException`, as in ECS.

use super::check_definition::{check_containers, check_sizes};
use super::read_container::{Surroundings, container, text};
use super::read_environment;
use super::read_role::role;
use super::read_tags::tags;
use super::read_volume::volumes;
use super::requirements::{check_required, compatibilities, requires_attributes};
use crate::error::ApiError;
use crate::messages;
use crate::ops::register_task_definition::RegisterTaskDefinitionRequest;
use crate::shapes::managed_instances::TrustedExecutionConfiguration;
use crate::shapes::task_definition as wire;
use windlass_model::arn::Scope;
use windlass_model::command::RegisterTaskDefinition;
use windlass_model::container::{ContainerDefinition, KeyValue};
use windlass_model::definition::{
    Compatibility, NetworkMode, ProxyConfiguration, RuntimePlatform, SharingMode, Template,
    TrustedExecution,
};
use windlass_model::id::Name;
use windlass_model::limits;

/// GiB that a task may have beside its images, at least and at most. Source: ECS API.
const EPHEMERAL_STORAGE_GIB: (u32, u32) = (21, 200);

/// Decodes and validates a RegisterTaskDefinition. `body_bytes` is the size of the request.
///
/// # Errors
/// `ClientException` with ECS's words where they are known, else with precise own ones.
pub fn register_task_definition(
    scope: &Scope,
    given: RegisterTaskDefinitionRequest,
    body_bytes: usize,
) -> Result<RegisterTaskDefinition, ApiError> {
    if body_bytes > limits::DEFINITION_BYTES_MAX {
        return Err(messages::task_definition::too_long(
            body_bytes,
            limits::DEFINITION_BYTES_MAX,
        ));
    }
    if given.tags.as_ref().is_some_and(Vec::is_empty) {
        return Err(messages::task_definition::no_tags());
    }
    if given
        .inference_accelerators
        .as_ref()
        .is_some_and(|given| !given.is_empty())
    {
        return Err(messages::task_definition::unsupported_field(
            "inferenceAccelerators",
        ));
    }
    let tags = tags(given.tags.clone())?;
    let template = template(scope, given)?;
    Ok(RegisterTaskDefinition { template, tags })
}

fn template(scope: &Scope, given: RegisterTaskDefinitionRequest) -> Result<Template, ApiError> {
    let family = family(given.family.as_deref())?;
    let requires_compatibilities = given
        .requires_compatibilities
        .unwrap_or_default()
        .iter()
        .map(compatibility)
        .collect::<Result<Vec<_>, _>>()?;
    let network_mode = given.network_mode.as_ref().map(network_mode).transpose()?;
    let cpu = text(given.cpu).as_deref().map(cpu_units).transpose()?;
    let memory = text(given.memory).as_deref().map(memory_mib).transpose()?;
    let within = Surroundings {
        account: &scope.account,
        network: network_mode.unwrap_or(NetworkMode::Bridge),
        task_memory: memory.is_some(),
        fargate: requires_compatibilities.contains(&Compatibility::Fargate),
    };
    let containers = containers(given.container_definitions, &within)?;
    let mut template = Template {
        family,
        task_role: role(scope, given.task_role_arn)?,
        execution_role: role(scope, given.execution_role_arn)?,
        network_mode,
        containers,
        volumes: volumes(given.volumes)?,
        placement_constraints: placement_constraints(given.placement_constraints)?,
        requires_compatibilities,
        cpu,
        memory,
        pid_mode: given.pid_mode.as_ref().map(pid_mode).transpose()?,
        ipc_mode: given.ipc_mode.as_ref().map(ipc_mode).transpose()?,
        proxy: given.proxy_configuration.map(proxy).transpose()?,
        ephemeral_storage_gib: given.ephemeral_storage.map(ephemeral_storage).transpose()?,
        runtime_platform: given.runtime_platform.map(runtime_platform),
        enable_fault_injection: given.enable_fault_injection,
        trusted_execution: given.trusted_execution_configuration.map(trusted_execution),
        compatibilities: Vec::new(),
        requires_attributes: Vec::new(),
    };
    check_containers(&template)?;
    check_sizes(&template)?;
    check_required(&template)?;
    template.compatibilities = compatibilities(&template);
    template.requires_attributes = requires_attributes(&template);
    Ok(template)
}

fn containers(
    given: Option<Vec<crate::shapes::container_definition::ContainerDefinition>>,
    within: &Surroundings,
) -> Result<Vec<ContainerDefinition>, ApiError> {
    let given = given.unwrap_or_default();
    if given.is_empty() {
        return Err(messages::task_definition::no_containers());
    }
    if given.len() > limits::CONTAINERS_PER_DEFINITION_MAX {
        return Err(messages::task_definition::too_many_containers());
    }
    given
        .into_iter()
        .map(|given| container(given, within))
        .collect()
}

fn runtime_platform(given: wire::RuntimePlatform) -> RuntimePlatform {
    RuntimePlatform {
        cpu_architecture: given
            .cpu_architecture
            .map(|value| value.as_str().to_owned()),
        operating_system_family: given
            .operating_system_family
            .map(|value| value.as_str().to_owned()),
    }
}

fn trusted_execution(given: TrustedExecutionConfiguration) -> TrustedExecution {
    TrustedExecution {
        isolation_mode: given
            .isolation_mode
            .map(|mode| mode.as_str().to_owned())
            .unwrap_or_default(),
        attestation_policy: given.attestation_policy,
    }
}

fn family(given: Option<&str>) -> Result<Name, ApiError> {
    match given {
        None | Some("") => Err(messages::task_definition::family_blank()),
        Some(text) => Name::new(text).map_err(|_| messages::task_definition::family_invalid()),
    }
}

fn compatibility(given: &wire::Compatibility) -> Result<Compatibility, ApiError> {
    match given {
        wire::Compatibility::Ec2 => Ok(Compatibility::Ec2),
        wire::Compatibility::Fargate => Ok(Compatibility::Fargate),
        wire::Compatibility::External => Ok(Compatibility::External),
        wire::Compatibility::ManagedInstances => Ok(Compatibility::ManagedInstances),
        wire::Compatibility::Other(other) => Err(ApiError::client(format!(
            "Invalid requiresCompatibilities value '{other}'. It should be one of [EC2, FARGATE, \
             EXTERNAL, MANAGED_INSTANCES]."
        ))),
    }
}

fn network_mode(given: &wire::NetworkMode) -> Result<NetworkMode, ApiError> {
    match given {
        wire::NetworkMode::Bridge => Ok(NetworkMode::Bridge),
        wire::NetworkMode::Host => Ok(NetworkMode::Host),
        wire::NetworkMode::Awsvpc => Ok(NetworkMode::Awsvpc),
        wire::NetworkMode::None => Ok(NetworkMode::None),
        wire::NetworkMode::Other(other) => Err(ApiError::client(format!(
            "Invalid network mode '{other}'. It should be one of [bridge, host, awsvpc, none]."
        ))),
    }
}

fn pid_mode(given: &wire::PidMode) -> Result<SharingMode, ApiError> {
    match given {
        wire::PidMode::Host => Ok(SharingMode::Host),
        wire::PidMode::Task => Ok(SharingMode::Task),
        wire::PidMode::Other(other) => Err(ApiError::client(format!(
            "Invalid pidMode '{other}'. It should be one of [host, task]."
        ))),
    }
}

fn ipc_mode(given: &wire::IpcMode) -> Result<SharingMode, ApiError> {
    match given {
        wire::IpcMode::Host => Ok(SharingMode::Host),
        wire::IpcMode::Task => Ok(SharingMode::Task),
        wire::IpcMode::None => Ok(SharingMode::None),
        wire::IpcMode::Other(other) => Err(ApiError::client(format!(
            "Invalid ipcMode '{other}'. It should be one of [host, task, none]."
        ))),
    }
}

fn proxy(given: wire::ProxyConfiguration) -> Result<ProxyConfiguration, ApiError> {
    let properties = given.properties.filter(|properties| !properties.is_empty());
    Ok(ProxyConfiguration {
        kind: given.r#type.map(|kind| kind.as_str().to_owned()),
        container: given.container_name.unwrap_or_default(),
        properties: properties.map(|properties| {
            properties
                .into_iter()
                .map(|pair| KeyValue {
                    name: pair.name.unwrap_or_default(),
                    value: pair.value.unwrap_or_default(),
                })
                .collect()
        }),
    })
}

pub(super) fn ephemeral_storage(given: wire::EphemeralStorage) -> Result<u32, ApiError> {
    let (min, max) = EPHEMERAL_STORAGE_GIB;
    match u32::try_from(given.size_in_gib.unwrap_or(0)) {
        Ok(size) if size > max => Err(messages::task_definition::ephemeral_storage_above(max)),
        Ok(size) if size >= min => Ok(size),
        _ => Err(messages::task_definition::ephemeral_storage_below(min)),
    }
}

fn placement_constraints(
    given: Option<Vec<wire::TaskDefinitionPlacementConstraint>>,
) -> Result<Vec<String>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > 10 {
        return Err(ApiError::client(
            "At most 10 placement constraints are allowed.",
        ));
    }
    given
        .into_iter()
        .map(|constraint| match constraint.r#type {
            Some(wire::TaskDefinitionPlacementConstraintType::MemberOf) => {
                Ok(constraint.expression.unwrap_or_default())
            }
            other => Err(messages::task_definition::constraint_type(
                other.as_ref().map_or("", |other| other.as_str()),
            )),
        })
        .collect()
}

/// `256`, `0.25 vCPU`, `1 vcpu` as CPU units.
pub(super) fn cpu_units(text: &str) -> Result<u32, ApiError> {
    let lower = text.trim().to_ascii_lowercase();
    let units = match lower.strip_suffix("vcpu") {
        None => lower.parse().ok(),
        Some(number) => scaled(number, 1024),
    };
    units
        .filter(|units| (128..=196_608).contains(units))
        .ok_or_else(|| messages::task_definition::invalid_setting("cpu"))
}

/// `512`, `1GB`, `0.5 GB` as MiB.
pub(super) fn memory_mib(text: &str) -> Result<u32, ApiError> {
    let lower = text.trim().to_ascii_lowercase();
    let mib = match lower.strip_suffix("gb") {
        None => lower.parse().ok(),
        Some(number) => scaled(number, 1024),
    };
    mib.filter(|mib| *mib >= 4)
        .ok_or_else(|| messages::task_definition::invalid_setting("memory"))
}

/// A decimal number times `scale`, exact: `.5` times 1024 is 512.
fn scaled(number: &str, scale: u64) -> Option<u32> {
    let number = number.trim();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 6 || whole.len() > 9 {
        return None;
    }
    let digits = |text: &str| -> Option<u64> {
        if text.is_empty() {
            Some(0)
        } else {
            text.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| text.parse().ok())?
        }
    };
    let denominator = 10u64.pow(u32::try_from(fraction.len()).ok()?);
    let value = (digits(whole)? * denominator + digits(fraction)?).checked_mul(scale)?;
    (value % denominator == 0).then(|| u32::try_from(value / denominator).ok())?
}

/// Variables that an override gives.
pub(super) fn override_environment(
    container: &Name,
    given: Option<Vec<crate::shapes::container_definition::KeyValuePair>>,
) -> Result<Option<Vec<KeyValue>>, ApiError> {
    given
        .map(|given| read_environment::key_values(container, "environment", Some(given)))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_with_their_units() {
        for (text, units) in [
            ("256", 256),
            ("0.25 vCPU", 256),
            (".5 vCPU", 512),
            ("1 vcpu", 1024),
            ("2vCPU", 2048),
        ] {
            assert_eq!(cpu_units(text), Ok(units), "{text}");
        }
        for text in [
            "",
            "x",
            "100",
            "0.33 vCPU",
            "-1",
            "200000",
            "1e3",
            ". vCPU",
            "99999999999 vCPU",
        ] {
            let refused = cpu_units(text).unwrap_err().message;
            assert_eq!(
                refused,
                "Invalid 'cpu' setting for task. For more information, see the Troubleshooting \
                 section of the Amazon ECS Developer Guide.",
                "{text}"
            );
        }
        for (text, mib) in [
            ("512", 512),
            ("1GB", 1024),
            ("0.5 GB", 512),
            ("30 gb", 30720),
        ] {
            assert_eq!(memory_mib(text), Ok(mib), "{text}");
        }
        assert!(memory_mib("1 TB").is_err());
    }
}
