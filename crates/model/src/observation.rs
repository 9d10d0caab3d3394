//! What an agent observed of one task. A report is merged upward: a container it does not name has
//! no news, and a status that would move backwards is dropped.

use crate::id::{Millis, Name, TaskId};
use crate::status::{AttachmentStatus, ContainerStatus, Health, TaskStatus};
use crate::stop::{ContainerReason, Stop};
use crate::task::{NetworkBinding, OomEvidence};
use minicbor::{Decode, Encode};

/// One task as its node sees it. Absent members have no news.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Observation {
    #[n(0)]
    pub task: TaskId,
    /// Numbered per task by the agent, so that a repeated one is known.
    #[n(1)]
    pub sequence: u64,
    #[n(2)]
    pub status: TaskStatus,
    #[n(3)]
    pub containers: Vec<ContainerObservation>,
    #[n(4)]
    pub pull_started_at: Option<Millis>,
    #[n(5)]
    pub pull_stopped_at: Option<Millis>,
    #[n(6)]
    pub execution_stopped_at: Option<Millis>,
    #[n(7)]
    pub attachment: Option<AttachmentObservation>,
    /// Why the node ends the task by itself.
    #[n(8)]
    pub stop: Option<Stop>,
    /// Notes for the history, all of them, the oldest first.
    #[n(9)]
    pub notes: Vec<String>,
    /// What holds the task's containers does not answer: all the rest is as it was last known.
    #[n(10)]
    #[cbor(default)]
    pub out_of_reach: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContainerObservation {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub status: ContainerStatus,
    #[n(2)]
    pub runtime_id: Option<String>,
    #[n(3)]
    pub image_digest: Option<String>,
    #[n(4)]
    pub exit_code: Option<i32>,
    #[n(5)]
    pub reason: Option<ContainerReason>,
    #[n(6)]
    pub bindings: Vec<NetworkBinding>,
    #[n(7)]
    pub health: Option<Health>,
    #[n(8)]
    pub health_output: Option<String>,
    #[n(9)]
    pub started_at: Option<Millis>,
    #[n(10)]
    pub stopped_at: Option<Millis>,
    #[n(11)]
    pub oom: Option<OomEvidence>,
    /// The last lines it wrote, when it ended abnormally.
    #[n(12)]
    pub last_lines: Vec<String>,
    /// It was asked to stop, did not within its `stopTimeout` of so many seconds, and was killed.
    #[n(13)]
    pub killed_after_s: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AttachmentObservation {
    #[n(0)]
    pub status: AttachmentStatus,
    #[n(1)]
    pub interface_id: Option<String>,
    #[n(2)]
    pub mac: Option<String>,
    #[n(3)]
    pub private_dns_name: Option<String>,
    #[n(4)]
    pub private_ipv4: Option<String>,
}
