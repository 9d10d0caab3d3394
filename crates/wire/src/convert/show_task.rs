//! A task as DescribeTasks, RunTask, StartTask and StopTask show it.

use super::show_container::{environment_files, int, key_value, protocol, resource_requirement};
use super::show_definition::time;
use super::stop_text::{container_reason, stop_code, stopped_reason};
use crate::shapes::attachment::Attachment;
use crate::shapes::attribute::Attribute;
use crate::shapes::container as wire_container;
use crate::shapes::container_definition::KeyValuePair;
use crate::shapes::network::NetworkInterface;
use crate::shapes::port::NetworkBinding as WireBinding;
use crate::shapes::tag;
use crate::shapes::task as wire;
use crate::shapes::task_definition::EphemeralStorage;
use crate::shapes::task_override as overrides;
use windlass_model::arn::Scope;
use windlass_model::container::ContainerDefinition;
use windlass_model::definition::{NetworkMode, TaskDefinition};
use windlass_model::id::ContainerId;
use windlass_model::status::{AttachmentStatus, ContainerStatus, Health};
use windlass_model::tag::Tag;
use windlass_model::task::{
    ContainerOverride, ContainerState, Launch, NetworkBinding, TaskSpec, TaskState,
};

/// What a task's record is made of.
#[derive(Clone, Copy)]
pub struct TaskParts<'a> {
    pub spec: &'a TaskSpec,
    pub state: &'a TaskState,
    pub definition: &'a TaskDefinition,
    /// Whether its node's agent is connected.
    pub connected: bool,
}

/// The complete record; `tags` are shown only when asked for.
pub fn show_task(scope: &Scope, task: TaskParts<'_>, include_tags: bool) -> wire::Task {
    let TaskParts {
        spec,
        state,
        definition,
        ..
    } = task;
    let fargate = spec.launch == Launch::Fargate;
    let cluster = &spec.cluster;
    wire::Task {
        attachments: Some(attachment(task).into_iter().collect()),
        attributes: Some(vec![Attribute {
            name: Some("ecs.cpu-architecture".into()),
            value: Some(architecture(definition)),
            ..Default::default()
        }]),
        availability_zone: Some(spec.availability_zone.clone()),
        capacity_provider_name: spec.capacity_provider.clone(),
        cluster_arn: Some(scope.cluster(cluster)),
        connectivity: state.connected_at.map(|_| match task.connected {
            true => wire::Connectivity::Connected,
            false => wire::Connectivity::Disconnected,
        }),
        connectivity_at: state.connected_at.map(time),
        container_instance_arn: (!fargate).then(|| scope.instance(cluster, spec.instance)),
        containers: Some(containers(scope, task)),
        cpu: spec.cpu_units.map(|units| units.to_string()),
        created_at: Some(time(spec.created_at)),
        desired_status: Some(state.desired.as_str().into()),
        enable_execute_command: Some(spec.enable_execute_command),
        execution_stopped_at: state.execution_stopped_at.map(time),
        group: Some(spec.group.clone()),
        health_status: Some(health(task_health(task))),
        inference_accelerators: None,
        last_status: Some(state.last.as_str().into()),
        launch_type: Some(launch_type(spec.launch)),
        memory: spec.memory_mib.map(|mib| mib.to_string()),
        overrides: Some(show_overrides(task)),
        platform_version: fargate.then(|| "1.4.0".into()),
        platform_family: fargate.then(|| "Linux".into()),
        pull_started_at: state.pull_started_at.map(time),
        pull_stopped_at: state.pull_stopped_at.map(time),
        started_at: state.started_at.map(time),
        started_by: spec.started_by.clone(),
        stop_code: state.stop.as_ref().map(|stop| stop_code(stop.code)),
        stopped_at: state.stopped_at.map(time),
        stopped_reason: state.stop.as_ref().map(|stop| stopped_reason(&stop.reason)),
        stopping_at: state.stopping_at.map(time),
        tags: Some(if include_tags {
            show_tags(&state.tags)
        } else {
            Vec::new()
        }),
        task_arn: Some(scope.task(cluster, spec.id)),
        task_definition_arn: Some(scope.definition(&spec.definition)),
        version: i64::try_from(state.version).ok(),
        ephemeral_storage: fargate.then(|| EphemeralStorage {
            size_in_gib: Some(int(spec.ephemeral_storage_gib.unwrap_or(20))),
        }),
        fargate_ephemeral_storage: None,
        trusted_execution_summary: None,
    }
}

pub fn show_tags(tags: &[Tag]) -> Vec<tag::Tag> {
    tags.iter()
        .map(|tag| tag::Tag {
            key: Some(tag.key.clone()),
            value: Some(tag.value.clone()),
        })
        .collect()
}

fn launch_type(launch: Launch) -> wire::LaunchType {
    match launch {
        Launch::Ec2 => wire::LaunchType::Ec2,
        Launch::External => wire::LaunchType::External,
        Launch::Fargate => wire::LaunchType::Fargate,
    }
}

fn architecture(definition: &TaskDefinition) -> String {
    let platform = definition.template.runtime_platform.as_ref();
    let given = platform.and_then(|platform| platform.cpu_architecture.as_deref());
    given.unwrap_or("X86_64").to_ascii_lowercase()
}

pub(super) fn health(health: Health) -> wire_container::HealthStatus {
    match health {
        Health::Unknown => wire_container::HealthStatus::Unknown,
        Health::Healthy => wire_container::HealthStatus::Healthy,
        Health::Unhealthy => wire_container::HealthStatus::Unhealthy,
    }
}

/// Of the essential containers that have a check: any unhealthy, else any unknown, else healthy.
/// Source: ECS developer guide, container health checks.
fn task_health(task: TaskParts<'_>) -> Health {
    let checked = task
        .definition
        .template
        .containers
        .iter()
        .filter(|container| container.essential && container.health_check.is_some())
        .filter_map(|container| {
            task.state
                .containers
                .iter()
                .find(|s| s.name == container.name)
        })
        .map(|state| state.health);
    let checked: Vec<Health> = checked.collect();
    if checked.contains(&Health::Unhealthy) {
        return Health::Unhealthy;
    }
    if checked.is_empty() || checked.contains(&Health::Unknown) {
        return Health::Unknown;
    }
    Health::Healthy
}

/// The network interface of an awsvpc task; details come once the node made it.
fn attachment(task: TaskParts<'_>) -> Option<Attachment> {
    let id = task.spec.attachment?;
    let state = task.state.attachment.as_ref();
    let pair = |name: &str, value: &str| KeyValuePair {
        name: Some(name.into()),
        value: Some(value.into()),
    };
    let subnet = task
        .spec
        .network
        .as_ref()
        .and_then(|network| network.subnets.first());
    let mut details: Vec<KeyValuePair> = subnet
        .map(|subnet| pair("subnetId", subnet))
        .into_iter()
        .collect();
    if let Some(state) = state {
        let known = [
            ("networkInterfaceId", &state.interface_id),
            ("macAddress", &state.mac),
            ("privateDnsName", &state.private_dns_name),
            ("privateIPv4Address", &state.private_ipv4),
        ];
        let known = known
            .into_iter()
            .filter_map(|(n, v)| v.as_ref().map(|v| pair(n, v)));
        details.extend(known);
    }
    let status = state.map_or(AttachmentStatus::Precreated, |state| state.status);
    Some(Attachment {
        id: Some(id.to_string()),
        r#type: Some("ElasticNetworkInterface".into()),
        status: Some(status.as_str().into()),
        details: Some(details),
    })
}

fn containers(scope: &Scope, task: TaskParts<'_>) -> Vec<wire_container::Container> {
    let definitions = &task.definition.template.containers;
    definitions
        .iter()
        .zip(&task.spec.containers)
        .map(|(definition, id)| {
            let state = task
                .state
                .containers
                .iter()
                .find(|s| s.name == definition.name);
            container(scope, task, definition, *id, state)
        })
        .collect()
}

fn container(
    scope: &Scope,
    task: TaskParts<'_>,
    definition: &ContainerDefinition,
    id: ContainerId,
    state: Option<&ContainerState>,
) -> wire_container::Container {
    let spec = task.spec;
    let given = spec
        .overrides
        .containers
        .iter()
        .find(|o| o.name == definition.name);
    let cpu = given.and_then(|o| o.cpu).unwrap_or(definition.cpu);
    let memory = given.and_then(|o| o.memory).or(definition.memory);
    let reservation = given
        .and_then(|o| o.memory_reservation)
        .or(definition.memory_reservation);
    let status = state.map_or(ContainerStatus::Pending, |state| state.status);
    let bindings = state.map(|state| state.bindings.iter().map(binding).collect());
    wire_container::Container {
        container_arn: Some(scope.container(&spec.cluster, spec.id, id)),
        task_arn: Some(scope.task(&spec.cluster, spec.id)),
        name: Some(definition.name.to_string()),
        image: Some(definition.image.clone()),
        image_digest: state.and_then(|state| state.image_digest.clone()),
        runtime_id: state.and_then(|state| state.runtime_id.clone()),
        last_status: Some(status.as_str().into()),
        exit_code: state.and_then(|state| state.exit_code),
        reason: state
            .and_then(|state| state.reason.as_ref())
            .map(container_reason),
        network_bindings: bindings.or_else(|| Some(Vec::new())),
        network_interfaces: Some(interface(task).into_iter().collect()),
        health_status: Some(health(state.map_or(Health::Unknown, |state| state.health))),
        managed_agents: None,
        cpu: Some(cpu.to_string()),
        memory: memory.map(|mib| mib.to_string()),
        memory_reservation: reservation.map(|mib| mib.to_string()),
        gpu_ids: None,
        neuron_device_ids: None,
        gpu_sharing_strategy: None,
    }
}

fn interface(task: TaskParts<'_>) -> Option<NetworkInterface> {
    if task.definition.template.network() != NetworkMode::Awsvpc {
        return None;
    }
    let address = task.state.attachment.as_ref()?.private_ipv4.clone()?;
    Some(NetworkInterface {
        attachment_id: task.spec.attachment.map(|id| id.to_string()),
        private_ipv4_address: Some(address),
        ipv6_address: None,
    })
}

fn binding(given: &NetworkBinding) -> WireBinding {
    let bound = WireBinding {
        bind_ip: Some(given.bind_ip.clone()),
        protocol: Some(protocol(given.protocol)),
        ..Default::default()
    };
    match given.range_end {
        None => WireBinding {
            container_port: Some(given.container_port.into()),
            host_port: Some(given.host_port.into()),
            ..bound
        },
        Some((container_end, host_end)) => WireBinding {
            container_port_range: Some(format!("{}-{container_end}", given.container_port)),
            host_port_range: Some(format!("{}-{host_end}", given.host_port)),
            ..bound
        },
    }
}

/// Every container is listed by name, overridden or not.
fn show_overrides(task: TaskParts<'_>) -> overrides::TaskOverride {
    let given = &task.spec.overrides;
    let containers = task
        .definition
        .template
        .containers
        .iter()
        .map(|definition| {
            let found = given.containers.iter().find(|o| o.name == definition.name);
            found.map_or_else(
                || overrides::ContainerOverride {
                    name: Some(definition.name.to_string()),
                    ..Default::default()
                },
                show_override,
            )
        });
    let accelerators = given.inference_accelerators.iter().map(|accelerator| {
        overrides::InferenceAcceleratorOverride {
            device_name: Some(accelerator.name.clone()),
            device_type: Some(accelerator.value.clone()),
        }
    });
    overrides::TaskOverride {
        container_overrides: Some(containers.collect()),
        cpu: given.cpu.map(|units| units.to_string()),
        inference_accelerator_overrides: Some(accelerators.collect()),
        execution_role_arn: given.execution_role.clone(),
        memory: given.memory.map(|mib| mib.to_string()),
        task_role_arn: given.task_role.clone(),
        ephemeral_storage: given.ephemeral_storage_gib.map(|size| EphemeralStorage {
            size_in_gib: Some(int(size)),
        }),
    }
}

fn show_override(given: &ContainerOverride) -> overrides::ContainerOverride {
    overrides::ContainerOverride {
        name: Some(given.name.to_string()),
        command: given.command.clone(),
        environment: given
            .environment
            .as_ref()
            .map(|e| e.iter().map(key_value).collect()),
        environment_files: given
            .environment_files
            .as_ref()
            .map(|files| environment_files(files)),
        cpu: given.cpu.map(int),
        memory: given.memory.map(int),
        memory_reservation: given.memory_reservation.map(int),
        resource_requirements: given
            .resource_requirements
            .as_ref()
            .map(|given| given.iter().map(resource_requirement).collect()),
    }
}
