//! Machines: a node runs an agent; a container instance is a node's membership in a cluster.
//! Every instance of a node draws on the node's one set of resources.

use crate::id::{BootId, InstanceId, Millis, Name, NodeId};
use crate::resources::{HostPort, Resources};
use crate::tag::Tag;
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

/// What an agent says of its machine when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Node {
    #[n(0)]
    pub id: NodeId,
    /// The machine's host name, for people.
    #[n(1)]
    pub name: String,
    #[n(2)]
    pub boot: BootId,
    /// What tasks may use; `ports` are the reserved ones.
    #[n(3)]
    pub total: Resources,
    #[n(4)]
    pub attributes: Vec<Attribute>,
    #[n(5)]
    pub availability_zone: String,
    #[n(6)]
    pub agent_version: String,
    /// An address under which published ports are reached from other machines.
    #[n(7)]
    pub address: String,
    #[n(8)]
    pub connected: bool,
    /// What isolation this node really gives, for `describe`.
    #[n(9)]
    pub isolation: String,
    /// Ports that something on the machine listens on, those left out that its tasks hold as static
    /// host ports: the agent looks for them again and again.
    #[n(10)]
    #[cbor(default)]
    pub ports_in_use: BTreeSet<HostPort>,
    /// When `connected` last changed; the control plane writes it.
    #[n(11)]
    pub connection_changed_at: Option<Millis>,
    /// Whether it joins a cluster by itself when a task is to be placed there and the cluster has no
    /// instance: `up --join on-demand`.
    #[n(12)]
    #[cbor(default)]
    pub joins_on_demand: bool,
}

impl Node {
    /// What stands for the machine's EC2 instance id: shown in a container instance, and compared
    /// by placement expressions.
    pub fn ec2_instance_id(&self) -> String {
        let digits: String = self.id.to_string().chars().take(17).collect();
        format!("i-{digits}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Instance {
    #[n(0)]
    pub id: InstanceId,
    #[n(1)]
    pub cluster: Name,
    #[n(2)]
    pub node: NodeId,
    #[n(3)]
    pub status: InstanceStatus,
    #[n(4)]
    pub registered_at: Millis,
    /// Grows with every change, as ECS's does.
    #[n(5)]
    pub version: u64,
    #[n(6)]
    pub tags: Vec<Tag>,
    /// Attributes put by users, on top of the node's.
    #[n(7)]
    pub attributes: Vec<Attribute>,
    /// The node joined by itself: deleting the cluster takes the instance along.
    #[n(8)]
    #[cbor(default)]
    pub on_demand: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum InstanceStatus {
    #[n(0)]
    Active,
    #[n(1)]
    Draining,
    #[n(2)]
    Inactive,
}

impl InstanceStatus {
    /// As ECS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            InstanceStatus::Active => "ACTIVE",
            InstanceStatus::Draining => "DRAINING",
            InstanceStatus::Inactive => "INACTIVE",
        }
    }
}

/// A capability or property of an instance; a name alone is enough.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Attribute {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub value: Option<String>,
}
