//! A node of the driver's world: keeps a ledger, runs tasks a step at a time, and sends every
//! observation until it is acknowledged.

use crate::random::Random;
use std::collections::{BTreeMap, VecDeque};
use windlass_cluster::TaskView;
use windlass_model::command::Report;
use windlass_model::id::{BootId, NodeId, TaskId};
use windlass_model::observation::{ContainerObservation, Observation};
use windlass_model::status::{ContainerStatus, Desired, Health, TaskStatus};
use windlass_model::stop::{Stop, StopCode, StopReason};

pub(crate) struct Agent {
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    /// Whether a session is open; what is sent without one is lost.
    pub(crate) session: bool,
    pub(crate) ledger: BTreeMap<TaskId, Held>,
    pub(crate) inbox: VecDeque<ToAgent>,
}

pub(crate) struct Held {
    status: TaskStatus,
    desired: Desired,
    containers: Vec<windlass_model::id::Name>,
    sequence: u64,
    unacknowledged: BTreeMap<u64, Observation>,
}

pub(crate) enum ToAgent {
    Full(Vec<TaskView>),
    Assign(TaskView),
    Forget(TaskId),
    Acknowledge(TaskId, u64),
    Stop(TaskId),
}

/// What taking a message led to.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) started: Vec<(TaskId, BootId)>,
    pub(crate) unassigned: Vec<TaskId>,
}

impl Agent {
    pub(crate) fn new(node: NodeId, boot: BootId) -> Agent {
        Agent {
            node,
            boot,
            session: false,
            ledger: BTreeMap::new(),
            inbox: VecDeque::new(),
        }
    }

    /// Nothing of the old boot runs, and nothing remembers it.
    pub(crate) fn reboot(&mut self, boot: BootId) {
        *self = Agent::new(self.node, boot);
    }

    pub(crate) fn lose_session(&mut self) {
        self.session = false;
        self.inbox.clear();
    }

    pub(crate) fn take(&mut self, message: ToAgent) -> Taken {
        let mut taken = Taken::default();
        match message {
            ToAgent::Full(views) => {
                let named = |task: &TaskId| views.iter().any(|view| view.spec.id == *task);
                taken.unassigned = self
                    .ledger
                    .keys()
                    .filter(|task| !named(task))
                    .copied()
                    .collect();
                for view in views {
                    self.assign(view, &mut taken);
                }
            }
            ToAgent::Assign(view) => self.assign(view, &mut taken),
            ToAgent::Forget(task) => {
                self.ledger.remove(&task);
            }
            ToAgent::Acknowledge(task, sequence) => {
                if let Some(held) = self.ledger.get_mut(&task) {
                    held.unacknowledged.remove(&sequence);
                }
            }
            ToAgent::Stop(task) => {
                if let Some(held) = self.ledger.get_mut(&task) {
                    held.desired = Desired::Stopped;
                }
            }
        }
        taken
    }

    fn assign(&mut self, view: TaskView, taken: &mut Taken) {
        if let Some(held) = self.ledger.get_mut(&view.spec.id) {
            // The node's own end of a task is not undone by an assignment made before it.
            held.desired = held.desired.max(view.state.desired);
            return;
        }
        taken.started.push((view.spec.id, view.spec.boot));
        let held = Held {
            status: view.state.last,
            desired: view.state.desired,
            containers: view
                .state
                .containers
                .iter()
                .map(|held| held.name.clone())
                .collect(),
            sequence: 0,
            unacknowledged: BTreeMap::new(),
        };
        self.ledger.insert(view.spec.id, held);
    }

    /// Moves one task on and returns the observation to send.
    pub(crate) fn step(&mut self, random: &mut Random) -> Option<Report> {
        let at = random.below(self.ledger.len().max(1));
        let (task, held) = self.ledger.iter_mut().nth(at)?;
        if held.status == TaskStatus::Stopped {
            return None;
        }
        let exits = held.status == TaskStatus::Running && random.one_in(4);
        let stopping = held.desired == Desired::Stopped || exits;
        held.status = match (stopping, held.status) {
            (true, TaskStatus::Stopping) => TaskStatus::Stopped,
            (true, _) if random.one_in(2) => TaskStatus::Stopped,
            (true, _) => TaskStatus::Stopping,
            (false, TaskStatus::Provisioning) => TaskStatus::Pending,
            (false, TaskStatus::Pending) if random.one_in(2) => TaskStatus::Activating,
            (false, _) => TaskStatus::Running,
        };
        held.sequence += 1;
        let container = match held.status {
            TaskStatus::Running | TaskStatus::Stopping => ContainerStatus::Running,
            TaskStatus::Stopped => ContainerStatus::Stopped,
            _ => ContainerStatus::Pending,
        };
        let seen = Observation {
            task: *task,
            sequence: held.sequence,
            status: held.status,
            containers: held
                .containers
                .iter()
                // A container without news is often left out.
                .filter_map(|name| {
                    let seen = observed(name.clone(), container, random.one_in(2));
                    (!random.one_in(4)).then_some(seen)
                })
                .collect(),
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
            attachment: None,
            stop: exits.then(|| Stop {
                code: StopCode::EssentialContainerExited,
                reason: StopReason::EssentialContainerExited {
                    container: "main".into(),
                },
            }),
            notes: Vec::new(),
            out_of_reach: false,
        };
        if exits {
            held.desired = Desired::Stopped;
        }
        held.unacknowledged.insert(held.sequence, seen.clone());
        Some(self.report(seen))
    }

    /// What was not acknowledged is sent again.
    pub(crate) fn resend(&self) -> Vec<Report> {
        let held = self.ledger.values();
        held.flat_map(|held| held.unacknowledged.values())
            .map(|seen| self.report(seen.clone()))
            .collect()
    }

    fn report(&self, observation: Observation) -> Report {
        Report {
            node: self.node,
            boot: self.boot,
            observation,
        }
    }
}

fn observed(
    name: windlass_model::id::Name,
    status: ContainerStatus,
    healthy: bool,
) -> ContainerObservation {
    ContainerObservation {
        name,
        status,
        runtime_id: Some("runtime".into()),
        image_digest: None,
        exit_code: (status == ContainerStatus::Stopped).then_some(0),
        reason: None,
        bindings: Vec::new(),
        health: Some(if healthy {
            Health::Healthy
        } else {
            Health::Unhealthy
        }),
        health_output: None,
        started_at: None,
        stopped_at: None,
        oom: None,
        last_lines: Vec::new(),
        killed_after_s: None,
    }
}
