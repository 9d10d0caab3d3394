//! What a decision is: rows to commit, history, an answer, and what to tell agents afterwards.

use crate::view::{ClusterView, DefinitionView, InstanceView, NodeView, TaskView};
use windlass_model::definition::DefinitionKey;
use windlass_model::history::Entry;
use windlass_model::id::{InstanceId, Name, NodeId, TaskId};
use windlass_model::placement::Refused;
use windlass_model::row::Change;
use windlass_model::stop::Stop;
use windlass_model::tag::Tag;
use windlass_model::task::Launch;

/// Everything here leaves the leader only when `changes` are durable.
#[derive(Clone, Debug)]
pub struct Decision {
    pub changes: Vec<Change>,
    pub history: Vec<Entry>,
    pub answer: Answer,
    pub effects: Vec<Effect>,
}

/// What an agent must hear. The messages are made from the state as committed: see
/// [`State::assignment`](crate::State::assignment).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The task's assignment is new or has changed.
    Assign { node: NodeId, task: TaskId },
    /// The task is durable as STOPPED: the node may forget it.
    Forget { node: NodeId, task: TaskId },
    /// The observation with this sequence is merged, or has no news.
    Acknowledge {
        node: NodeId,
        task: TaskId,
        sequence: u64,
    },
    /// The node wants its whole set.
    Full { node: NodeId },
    /// The node runs a task that it should not.
    Stop {
        node: NodeId,
        task: TaskId,
        stop: Stop,
    },
}

/// Rows are shared, so that an answer is rendered outside the leader's thread.
#[derive(Clone, Debug)]
pub enum Answer {
    Done,
    /// A part is done: the same command again does the next one. What asks it of the state holds
    /// the answer back until nothing is left.
    Unfinished,
    Cluster(ClusterView),
    Clusters {
        found: Vec<ClusterView>,
        missing: Vec<Name>,
    },
    Names {
        names: Vec<String>,
        more: bool,
    },
    Definition(DefinitionView),
    Definitions {
        found: Vec<DefinitionView>,
        failures: Vec<(DefinitionKey, DeleteFailure)>,
    },
    DefinitionKeys {
        keys: Vec<DefinitionKey>,
        more: bool,
    },
    /// What was placed, and one refusal per instance when not everything was: of a launch on
    /// Fargate, per node.
    Run {
        launch: Launch,
        tasks: Vec<TaskView>,
        refused: Vec<Refused>,
    },
    Task(TaskView),
    Tasks {
        found: Vec<TaskView>,
        missing: Vec<TaskId>,
    },
    TaskIds {
        tasks: Vec<TaskId>,
        more: bool,
    },
    Instances {
        found: Vec<InstanceView>,
        missing: Vec<InstanceId>,
    },
    /// What UpdateContainerInstancesState did, and what was deregistered before.
    UpdatedInstances {
        found: Vec<InstanceView>,
        missing: Vec<InstanceId>,
        inactive: Vec<InstanceId>,
    },
    InstanceIds {
        instances: Vec<InstanceId>,
        more: bool,
    },
    Tags(Vec<Tag>),
    Nodes(Vec<NodeView>),
}

/// Why DeleteTaskDefinitions left a revision alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteFailure {
    NotFound,
    /// It must be deregistered first.
    StillActive,
}
