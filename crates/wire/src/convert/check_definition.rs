//! What a whole definition must satisfy wherever it runs: references between its containers, and
//! sizes that add up.

use super::check_controls::check_system_controls;
use super::check_ports::check_ports;
use super::check_text::{check_texts, check_volume};
use crate::error::ApiError;
use crate::messages;
use std::collections::{BTreeMap, BTreeSet};
use windlass_model::container::{Condition, ContainerDefinition};
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::sizes::{ContainerSize, Exceeded, exceeded};
use windlass_model::volume::VolumeKind;

pub(super) fn check_containers(template: &Template) -> Result<(), ApiError> {
    let mut names = BTreeSet::new();
    for container in &template.containers {
        if !names.insert(&container.name) {
            return Err(messages::container::names_not_unique());
        }
    }
    if !template
        .containers
        .iter()
        .any(|container| container.essential)
    {
        return Err(messages::task_definition::nothing_essential());
    }
    for container in &template.containers {
        check_texts(container)?;
        check_references(template, container)?;
        check_requirements(container)?;
    }
    template.volumes.iter().try_for_each(check_volume)?;
    check_volumes_at_launch(template)?;
    check_secrets(template)?;
    check_cycles(template)?;
    check_ports(template)?;
    check_system_controls(template)?;
    check_firelens(template)?;
    check_proxy(template)?;
    check_trusted_execution(template)
}

fn check_references(template: &Template, container: &ContainerDefinition) -> Result<(), ApiError> {
    let find = |name: &str| template.containers.iter().find(|c| c.name.as_str() == name);
    for mount in &container.mount_points {
        if !template
            .volumes
            .iter()
            .any(|volume| volume.name.as_str() == mount.source_volume)
        {
            return Err(messages::volume::unknown(&mount.source_volume));
        }
    }
    for from in &container.volumes_from {
        if find(from.source_container.as_str()).is_none() || from.source_container == container.name
        {
            return Err(messages::container::volumes_from_unknown(
                from.source_container.as_str(),
            ));
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
            return Err(messages::container::depends_on_unknown(
                dependency.container.as_str(),
            ));
        };
        let ends = matches!(
            dependency.condition,
            Condition::Complete | Condition::Success
        );
        if ends && target.essential {
            return Err(messages::container::depends_on_essential());
        }
        if dependency.condition == Condition::Healthy && target.health_check.is_none() {
            return Err(messages::container::depends_on_unchecked());
        }
    }
    Ok(())
}

/// A volume that RunTask is to configure is one that some container mounts.
fn check_volumes_at_launch(template: &Template) -> Result<(), ApiError> {
    let mounted = |name: &str| {
        let mut mounts = template.containers.iter().flat_map(|c| &c.mount_points);
        mounts.any(|mount| mount.source_volume == name)
    };
    let volumes = template.volumes.iter();
    let at_launch = volumes.filter(|volume| volume.kind == VolumeKind::ConfiguredAtLaunch);
    let unused: Vec<&str> = at_launch
        .map(|volume| volume.name.as_str())
        .filter(|name| !mounted(name))
        .collect();
    if unused.is_empty() {
        return Ok(());
    }
    Err(messages::volume::not_referenced(&unused))
}

/// Secrets are read in the execution role's name.
fn check_secrets(template: &Template) -> Result<(), ApiError> {
    let secret = |container: &ContainerDefinition| !container.secrets.is_empty();
    if template.execution_role.is_none() && template.containers.iter().any(secret) {
        return Err(messages::container::secrets_without_role());
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

/// App Mesh's proxy container. Source: ECS API, ProxyConfiguration.
fn check_proxy(template: &Template) -> Result<(), ApiError> {
    let Some(proxy) = &template.proxy else {
        return Ok(());
    };
    if template.network() != NetworkMode::Awsvpc {
        return Err(messages::proxy::network_mode());
    }
    let named = |container: &ContainerDefinition| container.name.as_str() == proxy.container;
    if !template.containers.iter().any(named) {
        let name = crate::check::quoted(&proxy.container);
        return Err(messages::proxy::unknown_container(&name));
    }
    let has = |name: &str| {
        let mut properties = proxy.properties.iter().flatten();
        properties.any(|property| property.name == name && !property.value.is_empty())
    };
    for (name, what) in [
        ("ProxyIngressPort", "Ingress port"),
        ("ProxyEgressPort", "Egress port"),
        ("AppPorts", "App ports"),
    ] {
        if !has(name) {
            return Err(messages::proxy::property_missing(what));
        }
    }
    if !has("IgnoredUID") && !has("IgnoredGID") {
        return Err(messages::proxy::property_missing("Ignored UID or GID"));
    }
    Ok(())
}

/// The containers that log through FireLens, and the one that routes for them.
fn check_firelens(template: &Template) -> Result<(), ApiError> {
    let routers = template.containers.iter().filter(|c| c.firelens.is_some());
    let routers: Vec<&ContainerDefinition> = routers.collect();
    let through = |c: &&ContainerDefinition| {
        let driver = c.log.as_ref().map(|log| log.driver.as_str());
        driver == Some("awsfirelens")
    };
    let logging = template.containers.iter().find(through);
    match (routers.as_slice(), logging) {
        ([], None) => Ok(()),
        ([], Some(_)) => Err(messages::logging::no_router()),
        ([_], None) => Err(ApiError::client(
            "When a firelensConfiguration object is specified, at least one container has to be \
             configured with the awsfirelens log driver.",
        )),
        ([router], Some(_)) if through(router) => Err(ApiError::client(format!(
            "Container '{}' has a firelensConfiguration and cannot use log driver awsfirelens \
             itself.",
            router.name
        ))),
        ([_], Some(_)) => Ok(()),
        (many, _) => Err(ApiError::client(format!(
            "At most one container of a task definition can have a firelensConfiguration, not {}.",
            many.len()
        ))),
    }
}

fn check_trusted_execution(template: &Template) -> Result<(), ApiError> {
    let Some(trusted) = &template.trusted_execution else {
        return Ok(());
    };
    let policy = trusted.attestation_policy.as_ref();
    let confidential = trusted.isolation_mode == "CONFIDENTIAL_SANDBOX";
    if confidential && policy.is_none_or(|policy| policy.is_empty()) {
        return Err(ApiError::client(
            "Invalid trustedExecutionConfiguration: isolationMode CONFIDENTIAL_SANDBOX requires \
             an attestationPolicy.",
        ));
    }
    Ok(())
}

/// What resource requirements name: an amount.
fn check_requirements(container: &ContainerDefinition) -> Result<(), ApiError> {
    for requirement in container.resource_requirements.iter().flatten() {
        let value = requirement.value.as_deref().unwrap_or("");
        let whole = value.parse().is_ok_and(|number: u32| number > 0);
        let good = match requirement.kind.as_str() {
            // Either whole devices or a share of one.
            "GPU" => (whole || value == "ALL") != requirement.sharing.is_some(),
            // It names an accelerator of the definition, and no definition has any.
            "InferenceAccelerator" => false,
            _ => whole || value == "ALL",
        };
        if !good {
            return Err(ApiError::client(format!(
                "Container '{}': invalid value '{}' of resource requirement {}.",
                container.name,
                crate::check::quoted(value),
                requirement.kind
            )));
        }
    }
    Ok(())
}

/// Whether the containers fit into the task's own cpu and memory.
pub(super) fn check_sizes(template: &Template) -> Result<(), ApiError> {
    let sizes: Vec<ContainerSize> = template
        .containers
        .iter()
        .map(ContainerDefinition::size)
        .collect();
    match exceeded(template.cpu, template.memory, &sizes) {
        None => Ok(()),
        Some(Exceeded::Cpu) => Err(messages::task_definition::cpu_exceeded()),
        Some(Exceeded::Memory) => Err(messages::task_definition::invalid_setting("memory")),
        Some(Exceeded::MemoryBy(at)) => {
            let name = template.containers.get(at).map_or("", |c| c.name.as_str());
            Err(messages::container::memory_above_task(name))
        }
    }
}
