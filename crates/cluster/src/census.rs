//! How much of everything there is: numbers without names.

use crate::State;
use std::collections::BTreeMap;
use windlass_model::status::TaskStatus;

/// What the state holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Every status, also those that no task has.
    pub tasks: BTreeMap<TaskStatus, usize>,
    pub nodes_connected: usize,
    pub nodes_disconnected: usize,
    pub clusters: usize,
    pub container_instances: usize,
    pub task_definitions: usize,
}

impl State {
    /// Counts what there is. Costs a look at every task that is known.
    pub fn census(&self) -> Census {
        let mut tasks: BTreeMap<TaskStatus, usize> =
            TaskStatus::ALL.iter().map(|status| (*status, 0)).collect();
        for task in self.tasks.values() {
            *tasks.entry(task.last).or_default() += 1;
        }
        let nodes_connected = self.nodes.values().filter(|node| node.connected).count();
        Census {
            tasks,
            nodes_connected,
            nodes_disconnected: self.nodes.len() - nodes_connected,
            clusters: self.clusters.len(),
            container_instances: self.instances.len(),
            task_definitions: self.definitions.len(),
        }
    }
}
