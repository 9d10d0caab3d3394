//! Answers' nouns: shared rows, with what the state derives beside them.

use crate::index::ClusterTasks;
use crate::state::State;
use std::sync::Arc;
use windlass_model::cluster::Cluster;
use windlass_model::definition::{DefinitionKey, DefinitionState, TaskDefinition};
use windlass_model::id::{InstanceId, Millis, Name, NodeId, TaskId};
use windlass_model::instance::{Instance, Node};
use windlass_model::resources::Resources;
use windlass_model::task::{TaskSpec, TaskState};

#[derive(Clone, Debug)]
pub struct TaskView {
    pub spec: Arc<TaskSpec>,
    pub state: Arc<TaskState>,
    pub definition: Arc<TaskDefinition>,
    /// Whether the agent of its node is.
    pub connected: bool,
}

#[derive(Clone, Debug)]
pub struct ClusterView {
    pub cluster: Arc<Cluster>,
    /// ACTIVE and DRAINING.
    pub registered_instances: u32,
    pub running_tasks: u32,
    pub pending_tasks: u32,
    pub ec2: LaunchCounts,
    pub fargate: LaunchCounts,
    pub external: LaunchCounts,
}

/// Tasks of one launch type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchCounts {
    pub running: u32,
    /// PROVISIONING, PENDING and ACTIVATING.
    pub pending: u32,
}

#[derive(Clone, Debug)]
pub struct InstanceView {
    pub instance: Arc<Instance>,
    pub node: Arc<Node>,
    /// CPU and memory: what is free. Ports: those reserved or in use, as ECS shows them.
    pub remaining: Resources,
    pub running_tasks: u32,
    pub pending_tasks: u32,
    /// When its agent gave its last sign of life, while it counts as connected.
    pub heard_at: Option<Millis>,
}

#[derive(Clone, Debug)]
pub struct DefinitionView {
    pub definition: Arc<TaskDefinition>,
    pub state: Arc<DefinitionState>,
}

#[derive(Clone, Debug)]
pub struct NodeView {
    pub node: Arc<Node>,
    /// As in [`InstanceView`].
    pub remaining: Resources,
    /// Its tasks that are not STOPPED, of any launch type.
    pub tasks: u32,
    /// Its memberships.
    pub instances: Vec<Arc<Instance>>,
}

impl State {
    /// The task as an answer and an assignment show it.
    pub(crate) fn task_view(&self, id: TaskId) -> Option<TaskView> {
        let spec = self.specs.get(&id)?;
        let state = self.tasks.get(&id)?.clone();
        let node = self.nodes.get(&spec.node);
        Some(TaskView {
            spec: spec.clone(),
            definition: self.definitions.get(&spec.definition)?.clone(),
            connected: !state.out_of_reach && node.is_some_and(|node| node.connected),
            state,
        })
    }

    pub(crate) fn cluster_view(&self, cluster: &Arc<Cluster>) -> ClusterView {
        let none = ClusterTasks::default();
        let tasks = self.index.cluster_tasks.get(&cluster.name).unwrap_or(&none);
        let [ec2, external, fargate] = tasks.counts;
        let instances = self.index.cluster_instances.get(&cluster.name);
        ClusterView {
            cluster: cluster.clone(),
            registered_instances: instances
                .map_or(0, |ids| u32::try_from(ids.len()).unwrap_or(u32::MAX)),
            running_tasks: ec2.running + external.running + fargate.running,
            pending_tasks: ec2.pending + external.pending + fargate.pending,
            ec2,
            fargate,
            external,
        }
    }

    pub(crate) fn cluster_view_of(&self, name: &Name) -> Option<ClusterView> {
        self.clusters
            .get(name)
            .map(|cluster| self.cluster_view(cluster))
    }

    pub(crate) fn instance_view(&self, id: InstanceId) -> Option<InstanceView> {
        let instance = self.instances.get(&id)?;
        let node = self.nodes.get(&instance.node)?;
        let load = self.index.loads.get(&id);
        Some(InstanceView {
            instance: instance.clone(),
            node: node.clone(),
            remaining: self.remaining(node),
            running_tasks: load.map_or(0, |load| load.running),
            pending_tasks: load.map_or(0, |load| load.pending),
            heard_at: self.heard.get(&instance.node).copied(),
        })
    }

    pub(crate) fn definition_view(&self, key: &DefinitionKey) -> Option<DefinitionView> {
        Some(DefinitionView {
            definition: self.definitions.get(key)?.clone(),
            state: self.definition_states.get(key)?.clone(),
        })
    }

    pub(crate) fn node_view(&self, id: NodeId) -> Option<NodeView> {
        let node = self.nodes.get(&id)?;
        let ledger = self.index.ledgers.get(&id);
        let instances = self.index.node_instances.get(&id).into_iter().flatten();
        Some(NodeView {
            node: node.clone(),
            remaining: self.remaining(node),
            tasks: ledger.map_or(0, |held| {
                u32::try_from(held.tasks.len()).unwrap_or(u32::MAX)
            }),
            instances: instances
                .filter_map(|id| self.instances.get(id).cloned())
                .collect(),
        })
    }

    fn remaining(&self, node: &Node) -> Resources {
        let mut remaining = node.total.clone();
        if let Some(ledger) = self.index.ledgers.get(&node.id) {
            remaining.cpu_units = remaining.cpu_units.saturating_sub(ledger.used.cpu_units);
            remaining.memory_mib = remaining.memory_mib.saturating_sub(ledger.used.memory_mib);
            remaining.links = remaining.links.saturating_sub(ledger.used.links);
            remaining.ports.extend(ledger.used.ports.iter().copied());
        }
        remaining
    }
}

/// The first `limit` items, and whether there are more.
pub(crate) fn page<T>(items: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let mut items = items;
    // A page without room could never advance.
    let page: Vec<T> = items.by_ref().take(limit.max(1)).collect();
    let more = items.next().is_some();
    (page, more)
}
