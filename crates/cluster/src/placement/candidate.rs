//! A place a task might go: an instance of a cluster, or for Fargate a bare node, with what is
//! left of it.

use super::query::Subject;
use crate::index::{Ledger, Load};
use crate::state::State;
use windlass_model::id::{InstanceId, Millis, NodeId};
use windlass_model::instance::{Instance, Node};
use windlass_model::resources::HostPort;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// `None` for Fargate, whose capacity belongs to no cluster.
    pub instance: Option<&'a Instance>,
    pub node: &'a Node,
    pub ledger: Option<&'a Ledger>,
    pub load: Option<&'a Load>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn of_instance(state: &'a State, id: InstanceId) -> Option<Candidate<'a>> {
        let instance = state.instances.get(&id)?;
        let node = state.nodes.get(&instance.node)?;
        Some(Candidate {
            instance: Some(instance),
            node,
            ledger: state.index.ledgers.get(&instance.node),
            load: state.index.loads.get(&id),
        })
    }

    pub(crate) fn of_node(state: &'a State, node: &'a Node) -> Candidate<'a> {
        Candidate {
            instance: None,
            node,
            ledger: state.index.ledgers.get(&node.id),
            load: None,
        }
    }

    /// Named as a task placed here names it.
    pub(crate) fn id(&self) -> InstanceId {
        self.instance
            .map_or(fargate_place(self.node.id), |instance| instance.id)
    }

    pub(crate) fn free_cpu(&self) -> u64 {
        let used = self.ledger.map_or(0, |ledger| ledger.used.cpu_units);
        self.node.total.cpu_units.saturating_sub(used)
    }

    pub(crate) fn free_memory(&self) -> u64 {
        let used = self.ledger.map_or(0, |ledger| ledger.used.memory_mib);
        self.node.total.memory_mib.saturating_sub(used)
    }

    pub(crate) fn free_links(&self) -> u64 {
        let used = self.ledger.map_or(0, |ledger| ledger.used.links);
        self.node.total.links.saturating_sub(used)
    }

    pub(crate) fn port_is_free(&self, port: &HostPort) -> bool {
        !self.node.total.ports.contains(port)
            && !self.node.ports_in_use.contains(port)
            && !self
                .ledger
                .is_some_and(|ledger| ledger.used.ports.contains(port))
    }

    /// How many live tasks of a group it holds.
    pub(crate) fn in_group(&self, group: &str) -> u32 {
        self.load
            .and_then(|load| load.groups.get(group))
            .copied()
            .unwrap_or(0)
    }

    /// An attribute's value as spreading groups by it: empty when there is none.
    pub(crate) fn value_of(&self, attribute: &str) -> &'a str {
        self.find(attribute).flatten().unwrap_or("")
    }

    /// What users put on the instance goes before what the node says of itself.
    fn find(&self, name: &str) -> Option<Option<&'a str>> {
        let own = self
            .instance
            .map_or(&[][..], |instance| &instance.attributes);
        let found = own
            .iter()
            .chain(&self.node.attributes)
            .find(|held| held.name == name);
        match found {
            Some(held) => Some(held.value.as_deref()),
            None if name == "ecs.availability-zone" => Some(Some(&self.node.availability_zone)),
            None => None,
        }
    }
}

impl Subject for Candidate<'_> {
    fn agent_connected(&self) -> bool {
        self.node.connected
    }

    fn agent_version(&self) -> &str {
        &self.node.agent_version
    }

    fn ec2_instance_id(&self) -> String {
        self.node.ec2_instance_id()
    }

    fn registered_at(&self) -> Millis {
        self.instance
            .map_or(Millis(0), |instance| instance.registered_at)
    }

    fn running_tasks(&self) -> u64 {
        self.load.map_or(0, |load| u64::from(load.running))
    }

    fn any_group(&self, test: &dyn Fn(&str) -> bool) -> bool {
        self.load
            .is_some_and(|load| load.groups.keys().any(|group| test(group)))
    }

    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.find(name)
    }
}

/// What stands for the container instance of a Fargate task.
pub(crate) fn fargate_place(node: NodeId) -> InstanceId {
    InstanceId(node.0)
}
