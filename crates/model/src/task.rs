//! A task: one running instance of a revision. What never changes ([`TaskSpec`]) lies apart from
//! what does ([`TaskState`]): a status report rewrites a small row.

use crate::container::KeyValue;
use crate::definition::DefinitionKey;
use crate::id::{AttachmentId, BootId, ContainerId, InstanceId, Millis, Name, NodeId, TaskId};
use crate::pull::PullBehavior;
use crate::resources::{Protocol, Resources};
use crate::status::{AttachmentStatus, ContainerStatus, Desired, Health, TaskStatus};
use crate::stop::{ContainerReason, Stop};
use crate::tag::Tag;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TaskSpec {
    #[n(0)]
    pub id: TaskId,
    #[n(1)]
    pub cluster: Name,
    #[n(2)]
    pub definition: DefinitionKey,
    #[n(3)]
    pub launch: Launch,
    /// The provider a strategy chose: `FARGATE`, `FARGATE_SPOT`, a name.
    #[n(4)]
    pub capacity_provider: Option<String>,
    #[n(5)]
    pub group: String,
    #[n(6)]
    pub started_by: Option<String>,
    #[n(7)]
    pub created_at: Millis,
    /// The caller's ARN.
    #[n(8)]
    pub created_by: String,
    #[n(9)]
    pub overrides: TaskOverrides,
    #[n(10)]
    pub network: Option<AwsvpcConfiguration>,
    #[n(11)]
    pub enable_execute_command: bool,
    /// Ids of the definition's containers, in its order.
    #[n(12)]
    pub containers: Vec<ContainerId>,
    /// The task's network interface, in awsvpc mode.
    #[n(13)]
    pub attachment: Option<AttachmentId>,
    /// Of a Fargate task, which belongs to no container instance: the node's own number.
    #[n(14)]
    pub instance: InstanceId,
    #[n(15)]
    pub node: NodeId,
    /// The node's boot this task was placed on: it is started on no other.
    #[n(16)]
    pub boot: BootId,
    /// What it holds on the node until it is STOPPED.
    #[n(17)]
    pub reserved: Resources,
    /// Shown as the task's cpu and memory.
    #[n(18)]
    pub cpu_units: Option<u64>,
    #[n(19)]
    pub memory_mib: Option<u64>,
    #[n(20)]
    pub availability_zone: String,
    /// Of Fargate tasks.
    #[n(21)]
    pub ephemeral_storage_gib: Option<u32>,
    #[n(22)]
    pub reference_id: Option<String>,
    /// In place of the node's own setting.
    #[n(23)]
    pub pull: Option<PullBehavior>,
}

/// Who provides the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Launch {
    #[n(0)]
    Ec2,
    #[n(1)]
    External,
    #[n(2)]
    Fargate,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TaskState {
    #[n(0)]
    pub id: TaskId,
    /// Grows with every change worth an event.
    #[n(1)]
    pub version: u64,
    #[n(2)]
    pub last: TaskStatus,
    #[n(3)]
    pub desired: Desired,
    #[n(4)]
    pub connected_at: Option<Millis>,
    #[n(5)]
    pub pull_started_at: Option<Millis>,
    #[n(6)]
    pub pull_stopped_at: Option<Millis>,
    #[n(7)]
    pub started_at: Option<Millis>,
    #[n(8)]
    pub stopping_at: Option<Millis>,
    #[n(9)]
    pub execution_stopped_at: Option<Millis>,
    #[n(10)]
    pub stopped_at: Option<Millis>,
    #[n(11)]
    pub stop: Option<Stop>,
    #[n(12)]
    pub containers: Vec<ContainerState>,
    #[n(13)]
    pub attachment: Option<AttachmentState>,
    #[n(14)]
    pub tags: Vec<Tag>,
    /// Sequence of the newest observation merged: an older or repeated one has no news.
    #[n(15)]
    pub reported: Option<u64>,
    /// When the state was restored from a backup that has the task alive. Its node may have ended
    /// it since, and forgotten it: one that does not know it must not start it.
    #[n(16)]
    pub restored_at: Option<Millis>,
    /// Seconds until what still runs is killed, counted by the node from when it learns of it; less
    /// than the definition gives.
    #[n(17)]
    pub stop_within_s: Option<u32>,
    /// Its node has lost touch with what holds its containers: their state is the last known one.
    #[n(18)]
    #[cbor(default)]
    pub out_of_reach: bool,
    /// Its node's notes that the history has.
    #[n(19)]
    #[cbor(default)]
    pub notes: u32,
}

/// A container of a task, in the definition's order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContainerState {
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
    pub health: Health,
    #[n(8)]
    pub started_at: Option<Millis>,
    #[n(9)]
    pub stopped_at: Option<Millis>,
    /// The last health check's output, cut.
    #[n(10)]
    pub health_output: Option<String>,
    /// Memory at its highest and its limit, when the kernel killed for memory.
    #[n(11)]
    pub oom: Option<OomEvidence>,
    /// It was asked to stop, did not within its `stopTimeout` of so many seconds, and was killed.
    #[n(12)]
    pub killed_after_s: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OomEvidence {
    #[n(0)]
    pub peak_bytes: u64,
    #[n(1)]
    pub limit_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct NetworkBinding {
    #[n(0)]
    pub bind_ip: String,
    #[n(1)]
    pub container_port: u16,
    #[n(2)]
    pub host_port: u16,
    #[n(3)]
    pub protocol: Protocol,
    /// Last ports of a range whose first ports the two above are.
    #[n(4)]
    pub range_end: Option<(u16, u16)>,
}

/// The network interface as the node made it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AttachmentState {
    #[n(0)]
    pub status: AttachmentStatus,
    /// `eni-` and 17 digits.
    #[n(1)]
    pub interface_id: Option<String>,
    #[n(2)]
    pub mac: Option<String>,
    #[n(3)]
    pub private_dns_name: Option<String>,
    #[n(4)]
    pub private_ipv4: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct AwsvpcConfiguration {
    #[n(0)]
    pub subnets: Vec<String>,
    #[n(1)]
    pub security_groups: Vec<String>,
    #[n(2)]
    pub assign_public_ip: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TaskOverrides {
    #[n(0)]
    pub containers: Vec<ContainerOverride>,
    /// As normalised: CPU units.
    #[n(1)]
    pub cpu: Option<u32>,
    #[n(2)]
    pub memory: Option<u32>,
    #[n(3)]
    pub execution_role: Option<String>,
    #[n(4)]
    pub task_role: Option<String>,
    #[n(5)]
    pub ephemeral_storage_gib: Option<u32>,
    #[n(6)]
    pub inference_accelerators: Vec<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContainerOverride {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub command: Option<Vec<String>>,
    /// Merged by name over the definition's.
    #[n(2)]
    pub environment: Option<Vec<KeyValue>>,
    #[n(3)]
    pub environment_files: Option<Vec<String>>,
    #[n(4)]
    pub cpu: Option<u32>,
    #[n(5)]
    pub memory: Option<u32>,
    #[n(6)]
    pub memory_reservation: Option<u32>,
    #[n(7)]
    pub resource_requirements: Option<Vec<crate::container::ResourceRequirement>>,
}
