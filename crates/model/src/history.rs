//! What happened, and why: every status move, placement decision and stop, with its evidence.
//! Written with the turn that made it, read by `why` and `history`.

use crate::definition::DefinitionKey;
use crate::id::{InstanceId, Millis, NodeId};
use crate::instance::InstanceStatus;
use crate::placement::Refused;
use crate::status::{ContainerStatus, Health, TaskStatus};
use crate::stop::{ContainerReason, Stop};
use crate::task::OomEvidence;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    #[n(0)]
    pub at: Millis,
    /// `task/<id>`, `cluster/<name>`, `instance/<id>`, `node/<id>`,
    /// `definition/<family>:<revision>`.
    #[n(1)]
    pub subject: String,
    #[n(2)]
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    #[n(0)]
    Created {
        #[n(0)]
        by: String,
    },
    #[n(1)]
    Deleted {
        #[n(0)]
        by: String,
    },
    #[n(2)]
    Placed {
        #[n(0)]
        instance: InstanceId,
        #[n(1)]
        node: NodeId,
        #[n(2)]
        definition: DefinitionKey,
        #[n(3)]
        considered: u32,
        #[n(4)]
        fitting: u32,
    },
    /// A RunTask that found no place: a few of the refusals, and how many there were.
    #[n(3)]
    NotPlaced {
        #[n(0)]
        definition: DefinitionKey,
        #[n(1)]
        refused: Vec<Refused>,
        #[n(2)]
        total: u32,
    },
    #[n(4)]
    TaskStatus {
        #[n(0)]
        from: TaskStatus,
        #[n(1)]
        to: TaskStatus,
    },
    #[n(5)]
    ContainerStatus {
        #[n(0)]
        container: String,
        #[n(1)]
        to: ContainerStatus,
        #[n(2)]
        exit_code: Option<i32>,
        #[n(3)]
        reason: Option<ContainerReason>,
        #[n(4)]
        oom: Option<OomEvidence>,
        /// See [`crate::task::ContainerState`].
        #[n(5)]
        killed_after_s: Option<u32>,
    },
    #[n(6)]
    Health {
        #[n(0)]
        container: String,
        #[n(1)]
        health: Health,
        #[n(2)]
        output: Option<String>,
    },
    #[n(7)]
    StopWanted(#[n(0)] Stop),
    /// Something worth knowing that is not a status: `awslogs lines are kept locally`.
    #[n(8)]
    Note(#[n(0)] String),
    #[n(9)]
    NodeConnected {
        #[n(0)]
        node: NodeId,
    },
    #[n(10)]
    NodeDisconnected {
        #[n(0)]
        node: NodeId,
    },
    /// The last lines a container wrote before it ended abnormally.
    #[n(11)]
    LastLines {
        #[n(0)]
        container: String,
        #[n(1)]
        lines: Vec<String>,
    },
    /// A node became a container instance of a cluster.
    #[n(12)]
    Joined {
        #[n(0)]
        node: NodeId,
        #[n(1)]
        instance: InstanceId,
        /// By itself, because a task was to be placed there.
        #[n(2)]
        on_demand: bool,
        #[n(3)]
        by: String,
    },
    /// A container instance is none any more.
    #[n(13)]
    Left {
        #[n(0)]
        node: NodeId,
        #[n(1)]
        instance: InstanceId,
        #[n(2)]
        by: String,
        /// Of its tasks that run on.
        #[n(3)]
        tasks: u32,
    },
    #[n(14)]
    InstanceStatus {
        #[n(0)]
        instance: InstanceId,
        #[n(1)]
        to: InstanceStatus,
        #[n(2)]
        by: String,
    },
}
