//! What callers and agents ask of the control plane: decoded once at the edge, then trusted.
//! Answers and rejections are `cluster`'s.

use crate::cluster::{ClusterConfiguration, ContainerInsights, StrategyItem};
use crate::definition::{DefinitionKey, DefinitionRef, Template};
use crate::id::{BootId, InstanceId, Name, NodeId, TaskId};
use crate::instance::{InstanceStatus, Node};
use crate::observation::Observation;
use crate::placement::{PlacementConstraint, PlacementStrategy};
use crate::pull::PullBehavior;
use crate::resources::HostPort;
use crate::status::{DefinitionStatus, Desired};
use crate::tag::Tag;
use crate::task::{AwsvpcConfiguration, Launch, TaskOverrides};
use std::collections::BTreeSet;

/// One command and who gave it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The caller's ARN.
    pub caller: String,
    pub command: Command,
}

#[derive(Clone, Debug)]
pub enum Command {
    CreateCluster(CreateCluster),
    DescribeClusters(Vec<Name>),
    ListClusters(Page),
    PutClusterCapacityProviders(PutClusterCapacityProviders),
    DeleteCluster(Name),
    RegisterTaskDefinition(Box<RegisterTaskDefinition>),
    DescribeTaskDefinition(DefinitionRef),
    ListTaskDefinitions(ListTaskDefinitions),
    ListTaskDefinitionFamilies(ListTaskDefinitionFamilies),
    DeregisterTaskDefinition(DefinitionKey),
    /// At most ten.
    DeleteTaskDefinitions(Vec<DefinitionKey>),
    RunTask(Box<RunTask>),
    StartTask(Box<StartTask>),
    StopTask(StopTask),
    DescribeTasks {
        cluster: Name,
        tasks: Vec<TaskId>,
    },
    ListTasks(ListTasks),
    DescribeContainerInstances {
        cluster: Name,
        instances: Vec<InstanceId>,
    },
    ListContainerInstances(ListContainerInstances),
    DeregisterContainerInstance(DeregisterContainerInstance),
    /// At most ten; ACTIVE or DRAINING.
    UpdateContainerInstancesState {
        cluster: Name,
        instances: Vec<InstanceId>,
        status: InstanceStatus,
    },
    Tag {
        resource: Resource,
        tags: Vec<Tag>,
    },
    Untag {
        resource: Resource,
        keys: Vec<String>,
    },
    ListTags(Resource),
    /// Windlass's own: nodes and their memberships.
    AddNode {
        node: NodeId,
        cluster: Name,
    },
    /// The same at a start of the node, which brings no membership back that somebody ended.
    JoinAtStart {
        node: NodeId,
        cluster: Name,
    },
    ListNodes,
    /// A unique prefix of a task id, in any cluster.
    FindTask(String),
    /// Every assignment of a node, for a connecting agent.
    NodeConnected(Box<Node>),
    NodeDisconnected(NodeId),
    /// An agent that had nothing else to say is alive.
    Heartbeat(NodeId),
    /// Ports that programs on a node's machine listen on, its tasks included.
    PortsInUse {
        node: NodeId,
        ports: BTreeSet<HostPort>,
    },
    /// Tasks that run on a node and that no assignment named.
    Unassigned {
        node: NodeId,
        tasks: Vec<TaskId>,
    },
    Report(Box<Report>),
    /// Stops every task: `windlass down`.
    StopEverything,
    HurryStop(HurryStop),
}

impl Command {
    /// Whether it adds to what is stored. On a disk that is nearly full these are refused, while
    /// stops and reports still find room.
    pub fn adds(&self) -> bool {
        matches!(
            self,
            Command::CreateCluster(_)
                | Command::PutClusterCapacityProviders(_)
                | Command::RegisterTaskDefinition(_)
                | Command::RunTask(_)
                | Command::StartTask(_)
                | Command::Tag { .. }
                | Command::AddNode { .. }
                | Command::JoinAtStart { .. }
        )
    }
}

/// A resource that carries tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Cluster(Name),
    Task(Name, TaskId),
    Instance(Name, InstanceId),
    Definition(DefinitionKey),
}

/// `after` is the last key of the previous page, in the list's own order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub after: Option<String>,
    pub limit: usize,
}

#[derive(Clone, Debug)]
pub struct CreateCluster {
    pub name: Name,
    pub tags: Vec<Tag>,
    pub container_insights: ContainerInsights,
    pub configuration: Option<ClusterConfiguration>,
    pub capacity_providers: Vec<String>,
    pub default_strategy: Vec<StrategyItem>,
    pub namespace: Option<String>,
}

/// Both replace what the cluster had.
#[derive(Clone, Debug)]
pub struct PutClusterCapacityProviders {
    pub cluster: Name,
    pub capacity_providers: Vec<String>,
    /// Of `capacity_providers` alone.
    pub default_strategy: Vec<StrategyItem>,
}

#[derive(Clone, Debug)]
pub struct RegisterTaskDefinition {
    pub template: Template,
    pub tags: Vec<Tag>,
}

#[derive(Clone, Debug)]
pub struct ListTaskDefinitions {
    /// The full family name.
    pub family: Option<String>,
    pub status: DefinitionStatus,
    pub descending: bool,
    pub page: Page,
}

#[derive(Clone, Debug)]
pub struct ListTaskDefinitionFamilies {
    pub prefix: Option<String>,
    /// Families with an ACTIVE revision, without one, or both.
    pub active: Option<bool>,
    pub page: Page,
}

/// What RunTask and StartTask have in common.
#[derive(Clone, Debug)]
pub struct NewTask {
    pub cluster: Name,
    pub definition: DefinitionRef,
    pub group: Option<String>,
    pub started_by: Option<String>,
    pub overrides: TaskOverrides,
    pub network: Option<AwsvpcConfiguration>,
    pub enable_execute_command: bool,
    pub enable_ecs_managed_tags: bool,
    /// `propagateTags: TASK_DEFINITION`.
    pub propagate_definition_tags: bool,
    pub tags: Vec<Tag>,
    pub reference_id: Option<String>,
    /// In place of the node's own setting. ECS has no member for it.
    pub pull: Option<PullBehavior>,
    /// Names of the volumes that the call configures.
    pub volumes: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct RunTask {
    pub task: NewTask,
    /// 1 to 10.
    pub count: u32,
    pub launch: Option<Launch>,
    pub strategy: Vec<StrategyItem>,
    pub platform_version: Option<String>,
    pub constraints: Vec<PlacementConstraint>,
    pub strategies: Vec<PlacementStrategy>,
    pub client_token: Option<String>,
    /// Digest of the request without its token: the same token with another is a conflict.
    pub fingerprint: [u8; 32],
}

#[derive(Clone, Debug)]
pub struct StartTask {
    pub task: NewTask,
    pub instances: Vec<InstanceId>,
}

#[derive(Clone, Debug)]
pub struct StopTask {
    pub cluster: Name,
    pub task: TaskId,
    pub reason: Option<String>,
}

/// Less time for what is to stop.
#[derive(Clone, Debug)]
pub struct HurryStop {
    /// All of them when nothing.
    pub task: Option<TaskId>,
    /// Seconds from now until what still runs is killed.
    pub within_s: u32,
}

#[derive(Clone, Debug)]
pub struct ListTasks {
    pub cluster: Name,
    pub instance: Option<InstanceId>,
    pub family: Option<String>,
    pub started_by: Option<String>,
    pub service: Option<String>,
    /// `None` is ECS's `PENDING` filter, which matches nothing.
    pub desired: Option<Desired>,
    pub launch: Option<Launch>,
    pub page: Page,
}

#[derive(Clone, Debug)]
pub struct ListContainerInstances {
    pub cluster: Name,
    pub status: Option<InstanceStatus>,
    /// In the cluster query language.
    pub filter: Option<String>,
    pub page: Page,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeregisterContainerInstance {
    pub cluster: Name,
    pub instance: InstanceId,
    /// Though tasks run on it.
    pub force: bool,
}

/// One observation and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub node: NodeId,
    pub boot: BootId,
    pub observation: Observation,
}
