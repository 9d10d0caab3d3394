//! Nodes, and their memberships in clusters.

use super::{json, read};
use crate::door::Answer;
use crate::ops::{Call, unexpected};
use serde::Deserialize;
use serde_json::json;
use windlass_cluster::{Answer as Decided, NodeView};
use windlass_model::command::Command;
use windlass_model::id::NodeId;
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
    let prefix = request.node.unwrap_or_default();
    let ids: Vec<NodeId> = nodes(call)
        .await?
        .iter()
        .map(|view| view.node.id)
        .filter(|id| id.to_string().starts_with(&prefix))
        .collect();
    let node = match ids[..] {
        [node] => node,
        [] => {
            return Err(ApiError::invalid_parameter(format!(
                "No node's id begins with '{prefix}'."
            )));
        }
        _ => {
            return Err(ApiError::invalid_parameter(format!(
                "{} nodes' ids begin with '{prefix}': give more digits.",
                ids.len()
            )));
        }
    };
    call.ask(Command::AddNode { node, cluster }).await?;
    let nodes = nodes(call).await?;
    let added = nodes.iter().find(|view| view.node.id == node);
    json(&json!({ "node": added.map(|view| show(call, view)) }))
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
        json!({ "cpu": amounts.cpu_units, "memory": amounts.memory_mib, "ports": ports })
    };
    let in_use: Vec<u16> = node.ports_in_use.iter().map(|port| port.port).collect();
    let instances: Vec<_> = view
        .instances
        .iter()
        .map(|instance| {
            json!({
                "cluster": instance.cluster.to_string(),
                "containerInstanceArn": call.scope().instance(&instance.cluster, instance.id),
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
