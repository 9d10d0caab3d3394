//! RegisterTaskDefinition's request: every field decoded, validated and normalised once. Nearly
//! every failure is a `ClientException`, as in ECS.

use super::read_container::container;
use super::read_tags::tags;
use super::read_volume::volumes;
use super::requirements::{compatibilities, requires_attributes};
use super::{fargate, read_container};
use crate::error::ApiError;
use crate::ops::register_task_definition::RegisterTaskDefinitionRequest;
use crate::shapes::task_definition as wire;
use std::collections::{BTreeMap, BTreeSet};
use windlass_model::command::RegisterTaskDefinition;
use windlass_model::container::{Condition, ContainerDefinition, KeyValue};
use windlass_model::definition::{
    Compatibility, NetworkMode, ProxyConfiguration, RuntimePlatform, SharingMode, Template,
    TrustedExecution,
};
use windlass_model::id::Name;
use windlass_model::limits;
use windlass_model::volume::VolumeKind;

/// Host ports that the node keeps for itself. Source: ECS developer guide, port mappings.
const RESERVED_PORTS: [u16; 5] = [22, 2375, 2376, 51678, 51679];

/// Decodes and validates a RegisterTaskDefinition. `body_bytes` is the size of the request.
///
/// # Errors
/// `ClientException` with ECS's words where they are known, else with precise own ones.
pub fn register_task_definition(
    given: RegisterTaskDefinitionRequest,
    body_bytes: usize,
) -> Result<RegisterTaskDefinition, ApiError> {
    if body_bytes > limits::DEFINITION_BYTES_MAX {
        return Err(ApiError::client(format!(
            "Actual length: '{body_bytes}'. Max allowed length is '{}' bytes.",
            limits::DEFINITION_BYTES_MAX
        )));
    }
    if given.tags.as_ref().is_some_and(Vec::is_empty) {
        return Err(ApiError::client("Tags can not be empty."));
    }
    let tags = tags(given.tags.clone())?;
    let template = template(given)?;
    Ok(RegisterTaskDefinition { template, tags })
}

fn template(given: RegisterTaskDefinitionRequest) -> Result<Template, ApiError> {
    let family = family(given.family.as_deref())?;
    let requires_compatibilities = given
        .requires_compatibilities
        .unwrap_or_default()
        .iter()
        .map(compatibility)
        .collect::<Result<Vec<_>, _>>()?;
    let network_mode = given.network_mode.as_ref().map(network_mode).transpose()?;
    let network = network_mode.unwrap_or(NetworkMode::Bridge);
    let cpu = given
        .cpu
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(cpu_units)
        .transpose()?;
    let memory = given
        .memory
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(memory_mib)
        .transpose()?;
    let definitions = given.container_definitions.unwrap_or_default();
    if definitions.is_empty() {
        return Err(ApiError::client("Container list cannot be empty."));
    }
    if definitions.len() > limits::CONTAINERS_PER_DEFINITION_MAX {
        return Err(ApiError::client(format!(
            "Task definition contains too many containers: {}. The maximum is {}.",
            definitions.len(),
            limits::CONTAINERS_PER_DEFINITION_MAX
        )));
    }
    let containers = definitions
        .into_iter()
        .map(|given| container(given, network, memory.is_some()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut template = Template {
        family,
        task_role: text(given.task_role_arn),
        execution_role: text(given.execution_role_arn),
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
        inference_accelerators: given
            .inference_accelerators
            .filter(|a| !a.is_empty())
            .map(|a| {
                a.into_iter()
                    .map(|accelerator| KeyValue {
                        name: accelerator.device_name.unwrap_or_default(),
                        value: accelerator.device_type.unwrap_or_default(),
                    })
                    .collect()
            }),
        ephemeral_storage_gib: given.ephemeral_storage.map(ephemeral_storage).transpose()?,
        runtime_platform: given.runtime_platform.map(|platform| RuntimePlatform {
            cpu_architecture: platform
                .cpu_architecture
                .map(|value| value.as_str().to_owned()),
            operating_system_family: platform
                .operating_system_family
                .map(|value| value.as_str().to_owned()),
        }),
        enable_fault_injection: given.enable_fault_injection,
        trusted_execution: given
            .trusted_execution_configuration
            .map(|given| TrustedExecution {
                isolation_mode: given
                    .isolation_mode
                    .map(|mode| mode.as_str().to_owned())
                    .unwrap_or_default(),
                attestation_policy: given.attestation_policy,
            }),
        compatibilities: Vec::new(),
        requires_attributes: Vec::new(),
    };
    check_containers(&template)?;
    check_sizes(&template)?;
    if template
        .requires_compatibilities
        .contains(&Compatibility::Fargate)
    {
        check_fargate(&template)?;
    }
    template.compatibilities = compatibilities(&template);
    template.requires_attributes = requires_attributes(&template);
    Ok(template)
}

fn text(given: Option<String>) -> Option<String> {
    given.filter(|text| !text.is_empty())
}

fn family(given: Option<&str>) -> Result<Name, ApiError> {
    match given {
        None | Some("") => Err(ApiError::client("Family can not be blank.")),
        Some(text) => {
            Name::new(text).map_err(|_| ApiError::client("Family contains invalid characters."))
        }
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
    given
        .size_in_gib
        .and_then(|size| u32::try_from(size).ok())
        .filter(|size| (21..=200).contains(size))
        .ok_or_else(|| {
            ApiError::client("The ephemeral storage size must be between 21 and 200 GiB.")
        })
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
            other => Err(ApiError::client(format!(
                "Placement constraint type '{}' is not allowed in a task definition: only \
                 memberOf is.",
                other.as_ref().map_or("", |other| other.as_str())
            ))),
        })
        .collect()
}

const INVALID_CPU: &str = "Invalid 'cpu' setting for task. For more information, see the \
                           Troubleshooting section of the Amazon ECS Developer Guide.";
const INVALID_MEMORY: &str = "Invalid 'memory' setting for task. For more information, see the \
                              Troubleshooting section of the Amazon ECS Developer Guide.";

/// `256`, `0.25 vCPU`, `1 vcpu` as CPU units.
pub(super) fn cpu_units(text: &str) -> Result<u32, ApiError> {
    let lower = text.trim().to_ascii_lowercase();
    let units = match lower.strip_suffix("vcpu") {
        None => lower.parse().ok(),
        Some(number) => scaled(number, 1024),
    };
    units
        .filter(|units| (128..=196_608).contains(units))
        .ok_or_else(|| ApiError::client(INVALID_CPU))
}

/// `512`, `1GB`, `0.5 GB` as MiB.
pub(super) fn memory_mib(text: &str) -> Result<u32, ApiError> {
    let lower = text.trim().to_ascii_lowercase();
    let mib = match lower.strip_suffix("gb") {
        None => lower.parse().ok(),
        Some(number) => scaled(number, 1024),
    };
    mib.filter(|mib| *mib >= 4)
        .ok_or_else(|| ApiError::client(INVALID_MEMORY))
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

fn check_containers(template: &Template) -> Result<(), ApiError> {
    let mut names = BTreeSet::new();
    for container in &template.containers {
        if !names.insert(&container.name) {
            return Err(ApiError::client(format!(
                "Container names must be unique. '{}' is used more than once.",
                container.name
            )));
        }
    }
    if !template
        .containers
        .iter()
        .any(|container| container.essential)
    {
        return Err(ApiError::client(
            "Task definition does not have an essential container. At least one container must \
             be essential.",
        ));
    }
    for container in &template.containers {
        check_references(template, container)?;
    }
    check_cycles(template)?;
    check_host_ports(template)
}

fn check_references(template: &Template, container: &ContainerDefinition) -> Result<(), ApiError> {
    let find = |name: &str| template.containers.iter().find(|c| c.name.as_str() == name);
    for mount in &container.mount_points {
        if !template
            .volumes
            .iter()
            .any(|volume| volume.name.as_str() == mount.source_volume)
        {
            return Err(ApiError::client(format!(
                "Unknown volume '{}'.",
                mount.source_volume
            )));
        }
    }
    for from in &container.volumes_from {
        if find(from.source_container.as_str()).is_none() || from.source_container == container.name
        {
            return Err(ApiError::client(format!(
                "Container '{}': volumesFrom names no other container of the task definition: \
                 '{}'.",
                container.name, from.source_container
            )));
        }
    }
    for link in container.links.iter().flatten() {
        let target = link.split(':').next().unwrap_or("");
        if find(target).is_none() || target == container.name.as_str() {
            return Err(ApiError::client(format!(
                "Container '{}': link '{link}' names no other container of the task definition.",
                container.name
            )));
        }
    }
    for dependency in &container.depends_on {
        let Some(target) = find(dependency.container.as_str()) else {
            return Err(ApiError::client(format!(
                "Container '{}' depends on container '{}', which does not exist.",
                container.name, dependency.container
            )));
        };
        let ends = matches!(
            dependency.condition,
            Condition::Complete | Condition::Success
        );
        if ends && target.essential {
            return Err(ApiError::client(format!(
                "Container '{}' depends on the end of '{}', which is essential: its end would \
                 stop the task. Set essential to false.",
                container.name, target.name
            )));
        }
        if dependency.condition == Condition::Healthy && target.health_check.is_none() {
            return Err(ApiError::client(format!(
                "Container '{}' depends on the health of '{}', which has no health check.",
                container.name, target.name
            )));
        }
    }
    Ok(())
}

/// dependsOn, links and volumesFrom all make one container wait for another.
fn check_cycles(template: &Template) -> Result<(), ApiError> {
    let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in &template.containers {
        let on = waits.entry(container.name.as_str()).or_default();
        on.extend(container.depends_on.iter().map(|d| d.container.as_str()));
        on.extend(
            container
                .volumes_from
                .iter()
                .map(|v| v.source_container.as_str()),
        );
        let links = container.links.iter().flatten();
        on.extend(links.filter_map(|link| link.split(':').next()));
    }
    while !waits.is_empty() {
        let free: Vec<&str> = waits
            .iter()
            .filter(|(_, on)| !on.iter().any(|on| waits.contains_key(on)))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            let names: Vec<&str> = waits.keys().copied().collect();
            return Err(ApiError::client(format!(
                "Containers depend on each other in a circle: {}.",
                names.join(", ")
            )));
        }
        for name in free {
            waits.remove(name);
        }
    }
    Ok(())
}

fn check_host_ports(template: &Template) -> Result<(), ApiError> {
    let mut taken = BTreeSet::new();
    for container in &template.containers {
        for mapping in &container.port_mappings {
            let Some(port) = mapping.host_port.filter(|port| *port != 0) else {
                continue;
            };
            if !taken.insert((mapping.protocol, port)) {
                return Err(ApiError::client(format!(
                    "Invalid 'hostPort' in container '{}': {port} is used more than once in the \
                     task definition.",
                    container.name
                )));
            }
            let on_host = matches!(template.network(), NetworkMode::Bridge | NetworkMode::Host);
            if on_host && RESERVED_PORTS.contains(&port) {
                return Err(ApiError::client(format!(
                    "Invalid 'hostPort' in container '{}': {port} is reserved.",
                    container.name
                )));
            }
        }
    }
    Ok(())
}

fn check_sizes(template: &Template) -> Result<(), ApiError> {
    let total = |amounts: &mut dyn Iterator<Item = u32>| amounts.map(u64::from).sum::<u64>();
    if let Some(cpu) = template.cpu {
        let used = total(&mut template.containers.iter().map(|c| c.cpu));
        if used > u64::from(cpu) {
            return Err(ApiError::client(INVALID_CPU));
        }
    }
    if let Some(memory) = template.memory {
        let reserve = |c: &ContainerDefinition| c.memory_reservation.or(c.memory).unwrap_or(0);
        let used = total(&mut template.containers.iter().map(reserve));
        let over = template
            .containers
            .iter()
            .any(|c| c.memory.is_some_and(|mib| mib > memory));
        if used > u64::from(memory) || over {
            return Err(ApiError::client(INVALID_MEMORY));
        }
    }
    Ok(())
}

/// What Fargate refuses. Source: ECS API, parameters valid on Fargate.
fn check_fargate(template: &Template) -> Result<(), ApiError> {
    fargate::check_size(template.cpu, template.memory)?;
    if template.network() != NetworkMode::Awsvpc {
        return Err(ApiError::client(
            "Fargate only supports network mode ‘awsvpc’.",
        ));
    }
    if template.pid_mode == Some(SharingMode::Host) {
        return Err(ApiError::client(
            "Tasks using the Fargate launch type do not support pidMode 'host'. The supported \
             value for pidMode is 'task'.",
        ));
    }
    let refuse = |what: String| Err(ApiError::client(format!("{what} on Fargate.")));
    if template.ipc_mode.is_some() {
        return refuse("ipcMode is not supported".into());
    }
    if !template.placement_constraints.is_empty() {
        return refuse("Placement constraints are not supported".into());
    }
    for volume in &template.volumes {
        if matches!(volume.kind, VolumeKind::Host { .. } | VolumeKind::Docker(_)) {
            return refuse(format!(
                "Volume '{}': host.sourcePath and dockerVolumeConfiguration are not supported",
                volume.name
            ));
        }
    }
    template
        .containers
        .iter()
        .try_for_each(|c| check_fargate_container(template, c))
}

fn check_fargate_container(
    template: &Template,
    container: &ContainerDefinition,
) -> Result<(), ApiError> {
    let name = &container.name;
    let refuse = |what: &str| {
        Err(ApiError::client(format!(
            "Container '{name}': {what} is not supported on Fargate."
        )))
    };
    let role = template.execution_role.is_some();
    if container.image.contains(".dkr.ecr.") && !role {
        return Err(ApiError::client(
            "Fargate requires task definition to have execution role ARN to support ECR images.",
        ));
    }
    if let Some(log) = &container.log {
        if !["awslogs", "splunk", "awsfirelens"].contains(&log.driver.as_str()) {
            return refuse(&format!("log driver {}", log.driver));
        }
        if log.driver == "awslogs" && !role {
            return Err(ApiError::client(
                "Fargate requires task definition to have execution role ARN to support log \
                 driver awslogs.",
            ));
        }
    }
    if container.privileged == Some(true) {
        return refuse("privileged");
    }
    if container.docker_security_options.is_some() {
        return refuse("dockerSecurityOptions");
    }
    if container
        .resource_requirements
        .iter()
        .flatten()
        .any(|r| r.kind == "GPU")
    {
        return refuse("a GPU");
    }
    if container
        .ulimits
        .iter()
        .flatten()
        .any(|ulimit| ulimit.name != "nofile")
    {
        return refuse("a ulimit other than nofile");
    }
    let Some(linux) = &container.linux_parameters else {
        return Ok(());
    };
    if linux.devices.is_some() {
        return refuse("linuxParameters.devices");
    }
    if linux.shared_memory_size_mib.is_some() {
        return refuse("linuxParameters.sharedMemorySize");
    }
    if linux.max_swap_mib.is_some() || linux.swappiness.is_some() {
        return refuse("linuxParameters.maxSwap and swappiness");
    }
    if linux
        .capabilities_add
        .iter()
        .flatten()
        .any(|capability| capability != "SYS_PTRACE")
    {
        return refuse("adding a capability other than SYS_PTRACE");
    }
    Ok(())
}

/// Checks what [`read_container`] cannot: used by overrides too.
pub(super) fn override_environment(
    container: &Name,
    given: Option<Vec<crate::shapes::container_definition::KeyValuePair>>,
) -> Result<Option<Vec<KeyValue>>, ApiError> {
    given
        .map(|given| read_container::key_values(container, "environment", Some(given)))
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
            assert_eq!(cpu_units(text).unwrap_err().message, INVALID_CPU, "{text}");
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
