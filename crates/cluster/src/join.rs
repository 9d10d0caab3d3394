//! Memberships: how a node becomes a container instance of a cluster, and how it stops being one.
//!
//! A node joins because somebody says so (AddNode), because it starts (JoinAtStart), or by itself,
//! when something is to be placed in a cluster that has no instance. A membership that somebody
//! ended stays in the state as INACTIVE: while it does, only AddNode makes a new one.

use crate::draft::Draft;
use crate::limits::DUE_PER_STEP_MAX;
use crate::state::State;
use std::sync::Arc;
use windlass_model::history::Event;
use windlass_model::id::{InstanceId, Name, NodeId};
use windlass_model::instance::{Instance, InstanceStatus, Node};
use windlass_model::row::{Key, Row};

/// A node's membership in a cluster that is not INACTIVE.
pub(crate) fn member<'a>(state: &'a State, node: NodeId, cluster: &Name) -> Option<&'a Instance> {
    memberships(state, node, cluster).find(|instance| instance.status != InstanceStatus::Inactive)
}

/// Whether a node is an instance of a cluster, or was one until somebody ended that.
pub(crate) fn is_decided(state: &State, node: NodeId, cluster: &Name) -> bool {
    memberships(state, node, cluster).next().is_some()
}

fn memberships<'a>(
    state: &'a State,
    node: NodeId,
    cluster: &Name,
) -> impl Iterator<Item = &'a Instance> {
    let ids = state.index.node_instances.get(&node);
    let instances = ids.into_iter().flatten();
    let instances = instances.filter_map(|id| state.instances.get(id));
    instances
        .map(|instance| &**instance)
        .filter(move |instance| instance.cluster == *cluster)
}

pub(crate) fn join(
    draft: &mut Draft,
    node: NodeId,
    cluster: &Name,
    on_demand: bool,
    by: &str,
) -> InstanceId {
    let id = InstanceId(draft.state.random());
    draft.put(Row::Instance(Arc::new(Instance {
        id,
        cluster: cluster.clone(),
        node,
        status: InstanceStatus::Active,
        registered_at: draft.now(),
        version: 1,
        tags: Vec::new(),
        attributes: Vec::new(),
        on_demand,
    })));
    let event = Event::Joined {
        node,
        instance: id,
        on_demand,
        by: by.to_owned(),
    };
    draft.log(format!("instance/{id}"), event.clone());
    draft.log(format!("cluster/{cluster}"), event);
    id
}

/// Something is to be placed in a cluster. Without an instance that could take it, the nodes that
/// may join by themselves do. An instance that joined so and whose node is away does not keep others
/// from it: after a restore on another machine it is the only one.
pub(crate) fn on_demand(draft: &mut Draft, cluster: &Name, by: &str) {
    let state = &*draft.state;
    let ids = state.index.cluster_instances.get(cluster);
    let counts = |id: &InstanceId| {
        state.instances.get(id).is_some_and(|instance| {
            let node = state.nodes.get(&instance.node);
            !instance.on_demand || node.is_some_and(|node| node.connected)
        })
    };
    if ids.into_iter().flatten().any(counts) {
        return;
    }
    let joins = |node: &&Arc<Node>| {
        node.joins_on_demand && node.connected && !is_decided(state, node.id, cluster)
    };
    let nodes: Vec<NodeId> = state
        .nodes
        .values()
        .filter(joins)
        .map(|node| node.id)
        .collect();
    for node in nodes {
        join(draft, node, cluster, true, by);
    }
}

/// Somebody named the cluster: an instance that joined by itself stays from now on.
pub(crate) fn keep(draft: &mut Draft, node: NodeId, cluster: &Name) {
    let member = member(draft.state, node, cluster).filter(|instance| instance.on_demand);
    if let Some(instance) = member {
        let instance = Instance {
            on_demand: false,
            version: instance.version.saturating_add(1),
            ..instance.clone()
        };
        draft.put(Row::Instance(Arc::new(instance)));
    }
}

/// Changes an instance's status; tells history.
pub(crate) fn set_status(draft: &mut Draft, instance: &Instance, to: InstanceStatus, by: &str) {
    if instance.status == to {
        return;
    }
    let id = instance.id;
    draft.put(Row::Instance(Arc::new(Instance {
        status: to,
        version: instance.version.saturating_add(1),
        ..instance.clone()
    })));
    let event = Event::InstanceStatus {
        instance: id,
        to,
        by: by.to_owned(),
    };
    draft.log(format!("instance/{id}"), event.clone());
    draft.log(format!("cluster/{}", instance.cluster), event);
}

/// Removes some instances of a cluster that ends. Tells whether there were some.
pub(crate) fn forget(draft: &mut Draft, cluster: &Name) -> bool {
    let instances = draft.state.instances.values();
    let instances = instances.filter(|instance| instance.cluster == *cluster);
    let ids = instances.map(|instance| instance.id);
    let ids: Vec<InstanceId> = ids.take(DUE_PER_STEP_MAX).collect();
    for id in &ids {
        draft.remove(Key::Instance(*id));
    }
    !ids.is_empty()
}

/// Removes earlier memberships of a node in a cluster, of which only the latest is shown. One whose
/// tasks run on is kept: they name it.
pub(crate) fn forget_earlier(draft: &mut Draft, latest: &Instance) {
    let state = &*draft.state;
    let earlier = memberships(state, latest.node, &latest.cluster).filter(|instance| {
        instance.status == InstanceStatus::Inactive
            && instance.id != latest.id
            && !state.index.loads.contains_key(&instance.id)
    });
    let earlier: Vec<InstanceId> = earlier.map(|instance| instance.id).collect();
    for id in earlier {
        draft.remove(Key::Instance(id));
    }
}
