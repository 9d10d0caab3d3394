//! Nodes, and their memberships in clusters.

use super::{json, read};
use crate::door::Answer;
use crate::ops::{Call, unexpected};
use serde::Deserialize;
use serde_json::json;
use windlass_cluster::{Answer as Decided, NodeView};
use windlass_model::command::{Command, DeregisterContainerInstance};
use windlass_model::id::NodeId;
use windlass_model::instance::InstanceStatus;
use windlass_model::resources::Resources;
use windlass_wire::ApiError;
use windlass_wire::convert::identifier;

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let nodes = nodes(call).await?;
    json(&json!({ "nodes": nodes.iter().map(|node| show(call, node)).collect::<Vec<_>>() }))
}

async fn nodes(call: &Call<'_>) -> Result<Vec<NodeView>, ApiError> {
    match call.ask(Command::ListNodes).await? {
        Decided::Nodes(nodes) => Ok(nodes),
        other => Err(unexpected(&other)),
    }
}

#[derive(Deserialize)]
struct AddNode {
    cluster: String,
    /// An id or a unique prefix of one; may be left out where there is only one node.
    node: Option<String>,
}

/// Registers a node in a cluster too; every cluster of a node draws on its one set of resources.
pub(super) async fn add(call: &Call<'_>) -> Result<Answer, ApiError> {
    let request: AddNode = read(call.body)?;
    let cluster = identifier::cluster(call.scope(), Some(&request.cluster))?;
    let node = named(call, request.node).await?.node.id;
    call.ask(Command::AddNode { node, cluster }).await?;
    changed(call, node).await
}

#[derive(Deserialize)]
struct RemoveNode {
    cluster: String,
    /// As in [`AddNode`].
    node: Option<String>,
    /// Though tasks run there.
    #[serde(default)]
    force: bool,
}

/// Deregisters a node's container instance of a cluster: it does not join again by itself.
pub(super) async fn remove(call: &Call<'_>) -> Result<Answer, ApiError> {
    let request: RemoveNode = read(call.body)?;
    let cluster = identifier::cluster(call.scope(), Some(&request.cluster))?;
    let view = call
        .in_cluster(&cluster, named(call, request.node).await)
        .await?;
    let node = view.node.id;
    let mut members = view.instances.iter();
    let member = members.find(|instance| {
        instance.cluster == cluster && instance.status != InstanceStatus::Inactive
    });
    let none = || {
        ApiError::invalid_parameter(format!(
            "Node {} is no container instance of cluster {cluster}.",
            view.node.name
        ))
    };
    let read = member.map(|instance| instance.id).ok_or_else(none);
    let instance = call.in_cluster(&cluster, read).await?;
    call.ask(Command::DeregisterContainerInstance(
        DeregisterContainerInstance {
            cluster,
            instance,
            force: request.force,
        },
    ))
    .await?;
    changed(call, node).await
}

/// The one node whose id begins so.
async fn named(call: &Call<'_>, prefix: Option<String>) -> Result<NodeView, ApiError> {
    let prefix = prefix.unwrap_or_default();
    let mut found = nodes(call).await?;
    found.retain(|view| view.node.id.to_string().starts_with(&prefix));
    match found.len() {
        0 | 1 => found.pop().ok_or_else(|| {
            ApiError::invalid_parameter(format!("No node's id begins with '{prefix}'."))
        }),
        many => Err(ApiError::invalid_parameter(format!(
            "{many} nodes' ids begin with '{prefix}': give more digits."
        ))),
    }
}

/// The node as it is now.
async fn changed(call: &Call<'_>, node: NodeId) -> Result<Answer, ApiError> {
    let nodes = nodes(call).await?;
    let changed = nodes.iter().find(|view| view.node.id == node);
    json(&json!({ "node": changed.map(|view| show(call, view)) }))
}

/// Every task is asked to stop: `windlass down`.
pub(super) async fn stop_everything(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.ask(Command::StopEverything).await?;
    json(&json!({}))
}

fn show(call: &Call<'_>, view: &NodeView) -> serde_json::Value {
    let node = &view.node;
    let amounts = |amounts: &Resources| {
        let ports: Vec<u16> = amounts.ports.iter().map(|port| port.port).collect();
        json!({ "cpu": amounts.cpu_units, "memory": amounts.memory_mib, "ports": ports, "links": amounts.links })
    };
    let in_use: Vec<u16> = node.ports_in_use.iter().map(|port| port.port).collect();
    let instances: Vec<_> = view
        .instances
        .iter()
        .filter(|instance| instance.status != InstanceStatus::Inactive)
        .map(|instance| {
            json!({
                "cluster": instance.cluster.to_string(),
                "containerInstanceArn": call.scope().instance(&instance.cluster, instance.id),
                "status": instance.status.as_str(),
                "onDemand": instance.on_demand,
            })
        })
        .collect();
    json!({
        "id": node.id.to_string(),
        "name": node.name,
        "address": node.address,
        "connected": node.connected,
        "agentVersion": node.agent_version,
        "availabilityZone": node.availability_zone,
        "isolation": node.isolation,
        "total": amounts(&node.total),
        "remaining": amounts(&view.remaining),
        "portsInUse": in_use,
        "tasks": view.tasks,
        "containerInstances": instances,
    })
}
