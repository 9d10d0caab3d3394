//! Why a command was not taken: typed. The API's error names and sentences are rendered from
//! these elsewhere; the messages here are for logs.

use windlass_model::definition::DefinitionKey;
use windlass_model::id::{InstanceId, Name, NodeId, TaskId};
use windlass_model::task::Launch;

/// A rejected command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    #[error("cluster {0} does not exist: create it, or name another")]
    ClusterNotFound(Name),
    #[error("cluster {0} is INACTIVE: create it again first")]
    ClusterInactive(Name),
    #[error("cluster {0} is INACTIVE: its tags are gone, create it again first")]
    TagsOfInactiveCluster(Name),
    #[error("cluster {0} still has container instances: deregister them first")]
    ClusterContainsInstances(Name),
    #[error("cluster {0} still has services: delete them first")]
    ClusterContainsServices(Name),
    #[error("cluster {0} still has tasks: stop them and wait until they are STOPPED")]
    ClusterContainsTasks(Name),

    #[error("task definition {0} does not exist: register it, or name another revision")]
    DefinitionNotFound(String),
    #[error("task definition {0} is not ACTIVE: name another revision")]
    DefinitionInactive(DefinitionKey),
    #[error("task definition {0} does not exist or its family has no ACTIVE revision")]
    DefinitionNotDescribable(String),
    #[error("task definition {0} does not exist, so it cannot be deregistered")]
    DefinitionNotDeregistrable(DefinitionKey),
    #[error("family {0} has used up its revisions: register under another name")]
    TooManyRevisions(Name),

    #[error("task {0} does not exist in this cluster")]
    TaskNotFound(TaskId),
    #[error("no task's id begins with {0:?}")]
    NoTaskBeginsWith(String),
    #[error("several tasks' ids begin with {0:?}: give more digits")]
    AmbiguousTask(String),
    #[error("container instance {0} does not exist in this cluster")]
    InstanceNotFound(InstanceId),
    #[error("container instance {0} still has tasks: stop them, or force it")]
    InstanceHasTasks(InstanceId),
    #[error("node {0} has never connected: start its agent first")]
    NodeNotFound(NodeId),
    #[error("service {0} does not exist in this cluster")]
    ServiceNotFound(String),

    #[error("cluster {cluster} has no container instances: add a node, or launch on FARGATE")]
    NoInstances { cluster: Name },
    #[error("the task definition does not support launch type {0:?}")]
    IncompatibleLaunch(Launch),
    #[error("give a launch type or a capacity provider strategy, not both")]
    LaunchAndStrategy,
    #[error("the cluster is not associated with capacity provider {0}")]
    ProviderNotAssociated(String),
    #[error("capacity provider {0} is used by tasks of the cluster: stop them first")]
    ProviderInUse(String),
    #[error("a capacity provider strategy needs a weight above 0")]
    StrategyWithoutWeight,
    #[error("placement constraints do not apply to FARGATE tasks")]
    ConstraintsNotAllowed,
    #[error("placement strategies do not apply to FARGATE tasks")]
    StrategiesNotAllowed,
    #[error("a platform version is for FARGATE tasks alone")]
    PlatformVersionNotAllowed,
    #[error("network mode awsvpc needs a network configuration")]
    AwsvpcNeedsNetwork,
    #[error("a network configuration is for network mode awsvpc alone")]
    NetworkNotAllowed,
    #[error("a public address is for FARGATE tasks alone")]
    PublicIpNotAllowed,
    #[error("an override names container {0}, which the task definition does not have")]
    UnknownOverride(String),
    #[error("execute command needs a task role")]
    NoTaskRole,
    #[error("the task definition has no volume {0} that is configured at launch")]
    VolumeNotConfigurable(String),
    #[error("the task definition has no volume that is configured at launch")]
    NoVolumeConfigurable,
    #[error("FARGATE has no task of {cpu} CPU units and {memory} MiB")]
    NoFargateSize { cpu: u32, memory: u32 },
    #[error("container {0} is given less memory than it reserves")]
    MemoryBelowReservation(Name),
    #[error("the containers ask for more cpu than the task has")]
    CpuExceedsTask,
    #[error("the containers reserve more memory than the task has")]
    MemoryExceedsTask,
    #[error("container {0} may use more memory than the task has")]
    ContainerExceedsTask(Name),
    #[error("the client token was used with another request, which started {} tasks", .tasks.len())]
    TokenConflict { tasks: Vec<TaskId>, cluster: Name },

    #[error("expression {expression:?} is not valid: {why}")]
    BadExpression { expression: String, why: String },
    #[error("page mark {0:?} is not valid: start from the first page")]
    BadPage(String),
    #[error("the resource does not exist")]
    ResourceNotFound,
    #[error("a resource holds at most 50 tags")]
    TooManyTags,
    #[error("a task has at most 50 tags, those of its task definition included")]
    TooManyTagsOfTask,
}
