//! What a whole definition must satisfy: references between its containers, sizes that add up, and
//! what Fargate refuses.

use super::fargate;
use crate::error::ApiError;
use crate::messages;
use std::collections::{BTreeMap, BTreeSet};
use windlass_model::container::{Condition, ContainerDefinition};
use windlass_model::definition::{NetworkMode, SharingMode, Template};
use windlass_model::limits::RESERVED_TCP_PORTS;
use windlass_model::volume::VolumeKind;

pub(super) fn check_containers(template: &Template) -> Result<(), ApiError> {
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
            if on_host && RESERVED_TCP_PORTS.contains(&port) {
                return Err(ApiError::client(format!(
                    "Invalid 'hostPort' in container '{}': {port} is reserved.",
                    container.name
                )));
            }
        }
    }
    Ok(())
}

pub(super) fn check_sizes(template: &Template) -> Result<(), ApiError> {
    let total = |amounts: &mut dyn Iterator<Item = u32>| amounts.map(u64::from).sum::<u64>();
    if let Some(cpu) = template.cpu {
        let used = total(&mut template.containers.iter().map(|c| c.cpu));
        if used > u64::from(cpu) {
            return Err(messages::task_definition::invalid_setting("cpu"));
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
            return Err(messages::task_definition::invalid_setting("memory"));
        }
    }
    Ok(())
}

/// What Fargate refuses. Source: ECS API, parameters valid on Fargate.
pub(super) fn check_fargate(template: &Template) -> Result<(), ApiError> {
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
