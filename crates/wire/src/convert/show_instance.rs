//! A container instance as DescribeContainerInstances shows it.

use super::show_container::int;
use super::show_definition::time;
use super::show_task::show_tags;
use crate::shapes::attribute::Attribute;
use crate::shapes::container_instance as wire;
use windlass_model::arn::Scope;
use windlass_model::id::Millis;
use windlass_model::instance::{Instance, Node};
use windlass_model::resources::{Protocol, Resources};
use wire::InstanceHealthCheckState as State;

/// What an instance's record is made of.
pub struct InstanceParts<'a> {
    pub instance: &'a Instance,
    pub node: &'a Node,
    /// Free cpu and memory, and the ports in use.
    pub remaining: &'a Resources,
    pub running_tasks: u32,
    pub pending_tasks: u32,
    /// When the agent gave its last sign of life.
    pub heard_at: Option<Millis>,
}

/// What is shown because the caller asked for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct InstanceInclude {
    pub tags: bool,
    pub health: bool,
}

pub fn show_instance(
    scope: &Scope,
    parts: &InstanceParts<'_>,
    include: InstanceInclude,
) -> wire::ContainerInstance {
    let InstanceParts { instance, node, .. } = parts;
    let attributes = node.attributes.iter().chain(&instance.attributes);
    wire::ContainerInstance {
        container_instance_arn: Some(scope.instance(&instance.cluster, instance.id)),
        // Machines have no EC2 id; tools show the member, so it names the machine.
        ec2_instance_id: Some(node.ec2_instance_id()),
        version: i64::try_from(instance.version).ok(),
        version_info: Some(wire::VersionInfo {
            agent_version: Some(node.agent_version.clone()),
            agent_hash: None,
            docker_version: None,
        }),
        remaining_resources: Some(resources(parts.remaining)),
        registered_resources: Some(resources(&node.total)),
        status: Some(instance.status.as_str().into()),
        agent_connected: Some(node.connected),
        running_tasks_count: Some(int(parts.running_tasks)),
        pending_tasks_count: Some(int(parts.pending_tasks)),
        attributes: Some(
            attributes
                .map(|attribute| Attribute {
                    name: Some(attribute.name.clone()),
                    value: attribute.value.clone(),
                    ..Default::default()
                })
                .collect(),
        ),
        registered_at: Some(time(instance.registered_at)),
        attachments: Some(Vec::new()),
        tags: Some(if include.tags {
            show_tags(&instance.tags)
        } else {
            Vec::new()
        }),
        health_status: include.health.then(|| health(parts)),
        ..Default::default()
    }
}

/// The agent starts the containers itself, so of a machine whose agent is silent nothing is known
/// of the containers either.
fn health(parts: &InstanceParts<'_>) -> wire::ContainerInstanceHealthStatus {
    let connected = parts.node.connected;
    let changed_at = parts.node.connection_changed_at;
    let result = |kind, status| wire::InstanceHealthCheckResult {
        r#type: Some(kind),
        status: Some(status),
        status_reason: (!connected).then(|| "The agent is not connected.".into()),
        last_updated: parts.heard_at.or(changed_at).map(time),
        last_status_change: changed_at.map(time),
    };
    let (overall, runtime) = match connected {
        true => (State::Ok, State::Ok),
        false => (State::Impaired, State::InsufficientData),
    };
    wire::ContainerInstanceHealthStatus {
        overall_status: Some(overall.clone()),
        details: Some(vec![
            result(wire::InstanceHealthCheckType::AgentConnectivity, overall),
            result(wire::InstanceHealthCheckType::ContainerRuntime, runtime),
        ]),
    }
}

/// All members of each, as ECS shows them.
fn resources(given: &Resources) -> Vec<wire::Resource> {
    let integer = |name: &str, value: u64| wire::Resource {
        name: Some(name.into()),
        r#type: Some("INTEGER".into()),
        double_value: Some(0.0),
        long_value: Some(0),
        integer_value: Some(i32::try_from(value).unwrap_or(i32::MAX)),
        string_set_value: None,
    };
    let ports = |name: &str, protocol: Protocol| wire::Resource {
        name: Some(name.into()),
        r#type: Some("STRINGSET".into()),
        double_value: Some(0.0),
        long_value: Some(0),
        integer_value: Some(0),
        string_set_value: Some(
            given
                .ports
                .iter()
                .filter(|port| port.protocol == protocol)
                .map(|port| port.port.to_string())
                .collect(),
        ),
    };
    vec![
        integer("CPU", given.cpu_units),
        integer("MEMORY", given.memory_mib),
        ports("PORTS", Protocol::Tcp),
        ports("PORTS_UDP", Protocol::Udp),
    ]
}
