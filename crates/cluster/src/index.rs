//! What is derived from rows, kept by `apply` so that a decision costs the change and not the size
//! of the state. Nothing here is a row: recomputing it from the rows gives the same value, which
//! `State::audit` checks.
//!
//! An entry that became empty is removed, so that equal rows always give equal indexes.

use crate::view::LaunchCounts;
use std::collections::{BTreeMap, BTreeSet};
use windlass_model::cluster::{Cluster, ClusterStatus};
use windlass_model::definition::{DefinitionKey, DefinitionState};
use windlass_model::id::{InstanceId, Millis, Name, NodeId, TaskId};
use windlass_model::instance::{Instance, InstanceStatus};
use windlass_model::resources::Resources;
use windlass_model::row::ClientToken;
use windlass_model::status::{DefinitionStatus, Desired, TaskStatus};
use windlass_model::task::{Launch, TaskSpec, TaskState};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub definitions: BTreeMap<DefinitionStatus, BTreeSet<DefinitionKey>>,
    /// Tasks in the state by revision, STOPPED ones included: they still show it.
    pub definition_uses: BTreeMap<DefinitionKey, u32>,
    /// Instances that are not INACTIVE.
    pub cluster_instances: BTreeMap<Name, BTreeSet<InstanceId>>,
    pub node_instances: BTreeMap<NodeId, BTreeSet<InstanceId>>,
    pub cluster_tasks: BTreeMap<Name, ClusterTasks>,
    pub ledgers: BTreeMap<NodeId, Ledger>,
    pub loads: BTreeMap<InstanceId, Load>,
    /// By the time at which they stopped.
    pub stopped: BTreeSet<(Millis, TaskId)>,
    pub tokens: BTreeSet<(Millis, String)>,
    pub deleted_clusters: BTreeSet<(Millis, Name)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterTasks {
    /// By desired status: RUNNING, STOPPED.
    pub wanted: BTreeSet<TaskId>,
    pub unwanted: BTreeSet<TaskId>,
    /// Those not STOPPED.
    pub live: u32,
    /// By launch type, in the order of [`Launch`].
    pub counts: [LaunchCounts; 3],
}

/// What a node's tasks hold of it, whatever cluster they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub used: Resources,
    /// Those not STOPPED.
    pub tasks: BTreeSet<TaskId>,
}

/// The tasks of one container instance that are not STOPPED.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub running: u32,
    pub pending: u32,
    pub groups: BTreeMap<String, u32>,
}

/// Whether a task is being added to the index or taken out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    In,
    Out,
}

impl Index {
    /// Names of the parts in which two indexes differ.
    pub(crate) fn differences(&self, other: &Index) -> Vec<&'static str> {
        let parts = [
            ("definitions", self.definitions == other.definitions),
            (
                "definition_uses",
                self.definition_uses == other.definition_uses,
            ),
            (
                "cluster_instances",
                self.cluster_instances == other.cluster_instances,
            ),
            (
                "node_instances",
                self.node_instances == other.node_instances,
            ),
            ("cluster_tasks", self.cluster_tasks == other.cluster_tasks),
            ("ledgers", self.ledgers == other.ledgers),
            ("loads", self.loads == other.loads),
            ("stopped", self.stopped == other.stopped),
            ("tokens", self.tokens == other.tokens),
            (
                "deleted_clusters",
                self.deleted_clusters == other.deleted_clusters,
            ),
        ];
        parts
            .into_iter()
            .filter(|(_, same)| !same)
            .map(|(name, _)| name)
            .collect()
    }

    pub(crate) fn add_task(&mut self, spec: &TaskSpec, state: &TaskState) {
        self.task(spec, state, Side::In);
    }

    pub(crate) fn remove_task(&mut self, spec: &TaskSpec, state: &TaskState) {
        self.task(spec, state, Side::Out);
    }

    fn task(&mut self, spec: &TaskSpec, state: &TaskState, side: Side) {
        count(&mut self.definition_uses, &spec.definition, side);
        self.cluster_task(spec, state, side);
        if state.last == TaskStatus::Stopped {
            let entry = (state.stopped_at.unwrap_or(spec.created_at), spec.id);
            place(&mut self.stopped, entry, side);
            return;
        }
        self.hold(spec, side);
        if spec.launch != Launch::Fargate {
            self.load(spec, state, side);
        }
    }

    fn cluster_task(&mut self, spec: &TaskSpec, state: &TaskState, side: Side) {
        let tasks = match self.cluster_tasks.get_mut(&spec.cluster) {
            Some(tasks) => tasks,
            None => self.cluster_tasks.entry(spec.cluster.clone()).or_default(),
        };
        let listed = match state.desired {
            Desired::Running => &mut tasks.wanted,
            Desired::Stopped => &mut tasks.unwanted,
        };
        place(listed, spec.id, side);
        let counts = &mut tasks.counts[spec.launch as usize];
        match phase(state.last) {
            Some(Phase::Running) => step(&mut counts.running, side),
            Some(Phase::Pending) => step(&mut counts.pending, side),
            None => {}
        }
        if state.last != TaskStatus::Stopped {
            step(&mut tasks.live, side);
        }
        if tasks.wanted.is_empty() && tasks.unwanted.is_empty() {
            self.cluster_tasks.remove(&spec.cluster);
        }
    }

    fn hold(&mut self, spec: &TaskSpec, side: Side) {
        let ledger = self.ledgers.entry(spec.node).or_default();
        place(&mut ledger.tasks, spec.id, side);
        let (used, held) = (&mut ledger.used, &spec.reserved);
        match side {
            Side::In => {
                used.cpu_units = used.cpu_units.saturating_add(held.cpu_units);
                used.memory_mib = used.memory_mib.saturating_add(held.memory_mib);
                used.links = used.links.saturating_add(held.links);
                used.ports.extend(held.ports.iter().copied());
            }
            Side::Out => {
                used.cpu_units = used.cpu_units.saturating_sub(held.cpu_units);
                used.memory_mib = used.memory_mib.saturating_sub(held.memory_mib);
                used.links = used.links.saturating_sub(held.links);
                held.ports.iter().for_each(|port| {
                    used.ports.remove(port);
                });
            }
        }
        if ledger.tasks.is_empty() {
            self.ledgers.remove(&spec.node);
        }
    }

    fn load(&mut self, spec: &TaskSpec, state: &TaskState, side: Side) {
        let load = self.loads.entry(spec.instance).or_default();
        match phase(state.last) {
            Some(Phase::Running) => step(&mut load.running, side),
            Some(Phase::Pending) => step(&mut load.pending, side),
            None => {}
        }
        count(&mut load.groups, &spec.group, side);
        if load.groups.is_empty() {
            self.loads.remove(&spec.instance);
        }
    }

    pub(crate) fn add_definition(&mut self, state: &DefinitionState) {
        self.definitions
            .entry(state.status)
            .or_default()
            .insert(state.key.clone());
    }

    pub(crate) fn remove_definition(&mut self, state: &DefinitionState) {
        remove_from(&mut self.definitions, &state.status, &state.key);
    }

    pub(crate) fn add_instance(&mut self, instance: &Instance) {
        self.node_instances
            .entry(instance.node)
            .or_default()
            .insert(instance.id);
        if instance.status != InstanceStatus::Inactive {
            let ids = self
                .cluster_instances
                .entry(instance.cluster.clone())
                .or_default();
            ids.insert(instance.id);
        }
    }

    pub(crate) fn remove_instance(&mut self, instance: &Instance) {
        remove_from(&mut self.node_instances, &instance.node, &instance.id);
        remove_from(&mut self.cluster_instances, &instance.cluster, &instance.id);
    }

    pub(crate) fn add_cluster(&mut self, cluster: &Cluster) {
        self.cluster(cluster, Side::In);
    }

    pub(crate) fn remove_cluster(&mut self, cluster: &Cluster) {
        self.cluster(cluster, Side::Out);
    }

    fn cluster(&mut self, cluster: &Cluster, side: Side) {
        if cluster.status == ClusterStatus::Inactive {
            let at = cluster.deleted_at.unwrap_or(cluster.created_at);
            place(&mut self.deleted_clusters, (at, cluster.name.clone()), side);
        }
    }

    pub(crate) fn add_token(&mut self, token: &ClientToken) {
        self.tokens.insert((token.created_at, token.token.clone()));
    }

    pub(crate) fn remove_token(&mut self, token: &ClientToken) {
        self.tokens.remove(&(token.created_at, token.token.clone()));
    }

    /// A revision that is being deleted and that no task shows any more.
    pub(crate) fn purgeable_definition(&self) -> Option<&DefinitionKey> {
        let deleting = self.definitions.get(&DefinitionStatus::DeleteInProgress)?;
        deleting
            .iter()
            .find(|key| !self.definition_uses.contains_key(*key))
    }
}

/// How the API counts a task; one on its way out counts as neither.
enum Phase {
    Pending,
    Running,
}

fn phase(status: TaskStatus) -> Option<Phase> {
    match status {
        TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating => {
            Some(Phase::Pending)
        }
        TaskStatus::Running => Some(Phase::Running),
        _ => None,
    }
}

fn place<T: Ord>(set: &mut BTreeSet<T>, item: T, side: Side) {
    match side {
        Side::In => set.insert(item),
        Side::Out => set.remove(&item),
    };
}

fn step(counter: &mut u32, side: Side) {
    *counter = match side {
        Side::In => counter.saturating_add(1),
        Side::Out => counter.saturating_sub(1),
    };
}

fn count<K: Ord + Clone>(counts: &mut BTreeMap<K, u32>, key: &K, side: Side) {
    match counts.get_mut(key) {
        Some(counter) => {
            step(counter, side);
            if *counter == 0 {
                counts.remove(key);
            }
        }
        None if side == Side::In => {
            counts.insert(key.clone(), 1);
        }
        None => {}
    }
}

fn remove_from<K: Ord, T: Ord>(sets: &mut BTreeMap<K, BTreeSet<T>>, key: &K, item: &T) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(item);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
