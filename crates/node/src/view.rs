//! One task as its node knows it. The agent's ledger keeps it, so every field is numbered and a
//! number is never reused.

use crate::health::HealthState;
use crate::limits::NOTES_MAX;
use minicbor::{Decode, Encode};
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::Millis;
use windlass_model::status::ContainerStatus;
use windlass_model::stop::{ContainerReason, Stop};
use windlass_model::task::OomEvidence;

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TaskView {
    #[n(0)]
    pub sandbox: Part,
    /// The task's own network, in awsvpc mode.
    #[n(1)]
    pub network: Part,
    /// In the definition's order.
    #[n(2)]
    pub containers: Vec<ContainerView>,
    /// Set once; everything ends from then on.
    #[n(3)]
    pub stopping: Option<Stopping>,
    /// When the first pull began.
    #[n(4)]
    pub pull_started_at: Option<Millis>,
    /// When the last pull ended.
    #[n(5)]
    pub pull_stopped_at: Option<Millis>,
    /// When the first essential container ended, or the stop was wanted.
    #[n(6)]
    pub execution_stopped_at: Option<Millis>,
    /// Failed attempts to remove what the task left.
    #[n(7)]
    pub removal_failures: u32,
    #[n(8)]
    pub retry_at: Option<Millis>,
    #[n(9)]
    pub notes: Vec<String>,
    /// When what still runs is killed, where somebody wants it sooner than the definition does.
    #[n(10)]
    pub kill_due: Option<Millis>,
    /// The shim does not answer: what is said of the containers is what was last known.
    #[n(11)]
    #[cbor(default)]
    pub out_of_reach: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Stopping {
    /// Why, when the node itself decided it. The control plane knows its own reasons.
    #[n(0)]
    pub by_node: Option<Stop>,
}

/// Something made for the task and removed after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Part {
    #[default]
    #[n(0)]
    Absent,
    #[n(1)]
    Making,
    /// Made, or failed half way: either way it has to be removed.
    #[n(2)]
    Made,
    #[n(3)]
    Removing,
    #[n(4)]
    Gone,
    /// It was being made when the agent died: it is made afresh, or removed.
    #[n(5)]
    Unknown,
}

impl Part {
    pub fn is_to_make(self) -> bool {
        matches!(self, Part::Absent | Part::Unknown)
    }

    pub fn is_to_remove(self) -> bool {
        matches!(self, Part::Made | Part::Unknown)
    }

    /// Nothing of it is left and nothing is under way.
    pub fn is_clear(self) -> bool {
        matches!(self, Part::Absent | Part::Gone)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ContainerView {
    #[n(0)]
    pub image: Image,
    #[n(1)]
    pub image_digest: Option<String>,
    /// The container's own network, in bridge mode.
    #[n(2)]
    pub network: Part,
    #[n(3)]
    pub phase: Phase,
    /// The newest start that is known to have happened: 1, 2, …
    #[n(4)]
    pub run: u32,
    /// The newest start that is known to have ended.
    #[n(5)]
    pub ended_run: u32,
    /// Of the first start.
    #[n(6)]
    pub started_at: Option<Millis>,
    /// Of the newest start.
    #[n(7)]
    pub run_started_at: Option<Millis>,
    #[n(8)]
    pub stopped_at: Option<Millis>,
    #[n(9)]
    pub exit_code: Option<i32>,
    /// First cause wins.
    #[n(10)]
    pub reason: Option<ContainerReason>,
    #[n(11)]
    pub oom: Option<OomEvidence>,
    #[n(12)]
    pub last_lines: Vec<String>,
    #[n(13)]
    pub health: HealthState,
    #[n(14)]
    pub restarts: u32,
    /// When it was asked to stop.
    #[n(15)]
    pub stop_begun: Option<Millis>,
    /// When it was last killed by the agent.
    #[n(16)]
    pub kill_begun: Option<Millis>,
    /// A stop could not be sent: try again then.
    #[n(17)]
    pub stop_retry_at: Option<Millis>,
    /// Its stop became a kill, as its `stopTimeout` of so many seconds had passed.
    #[n(18)]
    pub killed_after_s: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Image {
    #[default]
    #[n(0)]
    Unresolved,
    #[n(1)]
    Resolving,
    #[n(2)]
    Resolved,
    #[n(3)]
    Pulling,
    #[n(4)]
    Ready,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Phase {
    /// Not started yet.
    #[default]
    #[n(0)]
    Waiting,
    /// A start is under way.
    #[n(1)]
    Starting,
    #[n(2)]
    Running,
    /// Ended, and its restart policy starts it again. RUNNING to the outside.
    #[n(3)]
    Restarting,
    #[n(4)]
    Stopped,
}

impl TaskView {
    /// A task of which nothing exists yet.
    pub fn new(template: &Template) -> TaskView {
        TaskView {
            sandbox: Part::Absent,
            network: Part::Absent,
            containers: vec![ContainerView::default(); template.containers.len()],
            stopping: None,
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
            removal_failures: 0,
            retry_at: None,
            notes: Vec::new(),
            kill_due: None,
            out_of_reach: false,
        }
    }

    /// Every container is at its end.
    pub fn all_stopped(&self) -> bool {
        self.containers.iter().all(|c| c.phase == Phase::Stopped)
    }

    /// Nothing of the task is left on the node.
    pub fn is_removed(&self) -> bool {
        self.all_stopped()
            && self.sandbox.is_clear()
            && self.network.is_clear()
            && self.containers.iter().all(|c| c.network.is_clear())
    }

    /// Ends the task; the first cause stays.
    pub fn stop(&mut self, by_node: Option<Stop>, now: Millis) {
        if self.stopping.is_none() {
            self.stopping = Some(Stopping { by_node });
        }
        self.execution_stopped_at.get_or_insert(now);
    }

    /// Ends it by then; of several times the first stays.
    pub fn kill_by(&mut self, due: Millis) {
        self.kill_due = Some(self.kill_due.map_or(due, |known| known.min(due)));
    }

    pub fn note(&mut self, text: String) {
        if self.notes.len() < NOTES_MAX && !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }
}

impl ContainerView {
    pub fn status(&self) -> ContainerStatus {
        match self.phase {
            Phase::Waiting => ContainerStatus::Pending,
            // A restart is invisible from outside.
            Phase::Starting if self.run == 0 => ContainerStatus::Pending,
            Phase::Starting | Phase::Running | Phase::Restarting => ContainerStatus::Running,
            Phase::Stopped => ContainerStatus::Stopped,
        }
    }

    /// It ran at least once.
    pub fn was_started(&self) -> bool {
        self.run > 0
    }

    /// Ends it; a reason that was there stays.
    pub fn end(&mut self, reason: Option<ContainerReason>, now: Millis) {
        self.phase = Phase::Stopped;
        if self.reason.is_none() {
            self.reason = reason;
        }
        self.stopped_at.get_or_insert(now);
        self.health.forget_probe();
    }
}

/// Whether each container has a network of its own.
pub fn network_per_container(template: &Template) -> bool {
    template.network() == NetworkMode::Bridge
}
