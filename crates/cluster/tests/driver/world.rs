//! The world: the core, the store it commits to, nodes, and the network between.

use crate::agent::{Agent, ToAgent};
use crate::checks::Moves;
use crate::random::Random;
use crate::{commands, nouns};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use windlass_cluster::{Answer, Decision, Effect, State, Turn, next_due, take, take_due};
use windlass_model::command::{Command, Report, Request};
use windlass_model::definition::DefinitionKey;
use windlass_model::id::{BootId, Millis, NodeId, TaskId};
use windlass_model::row::{Change, Key, Row};
use windlass_model::status::{Desired, TaskStatus};

const NODES: usize = 3;

pub(crate) struct World {
    random: Random,
    now: Millis,
    boots: u128,
    state: State,
    /// Encoded, as a store would keep it.
    store: BTreeMap<Vec<u8>, Vec<u8>>,
    agents: Vec<Agent>,
    /// Reports on their way: taken out in any order, and sometimes left in.
    network: Vec<Report>,
    started: BTreeMap<TaskId, BootId>,
    /// What callers were told.
    acknowledged_tasks: BTreeSet<TaskId>,
    acknowledged_stops: BTreeSet<TaskId>,
    acknowledged_definitions: BTreeSet<DefinitionKey>,
    moves: Moves,
    faults: bool,
    pub(crate) trace: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let boot = |at: usize| BootId(at as u128 + 1);
        let mut world = World {
            random: Random::new(seed),
            now: Millis(1_700_000_000_000),
            boots: NODES as u128,
            state: State::new(),
            store: BTreeMap::new(),
            agents: (0..NODES)
                .map(|at| Agent::new(NodeId(at as u128), boot(at)))
                .collect(),
            network: Vec::new(),
            started: BTreeMap::new(),
            acknowledged_tasks: BTreeSet::new(),
            acknowledged_stops: BTreeSet::new(),
            acknowledged_definitions: BTreeSet::new(),
            moves: Moves::default(),
            faults: true,
            trace: 0xcbf2_9ce4_8422_2325,
        };
        world.furnish();
        world
    }

    pub(crate) fn started(&self) -> u64 {
        self.started.len() as u64
    }

    /// Two clusters, a definition of each family, every node in both clusters.
    fn furnish(&mut self) {
        self.faults = false;
        let mut first = vec![nouns::create_cluster("one"), nouns::create_cluster("two")];
        first.push(nouns::register(nouns::template("small", 64, 50)));
        first.push(nouns::register(nouns::template("large", 600, 700)));
        first.push(nouns::register(nouns::with_port(
            nouns::template("port", 10, 10),
            80,
            8080,
        )));
        first.push(nouns::register(nouns::fargate("fargate", 256, 512)));
        for at in 0..NODES {
            self.connect(at);
            for cluster in ["one", "two"] {
                let cluster = nouns::name(cluster);
                first.push(Command::AddNode {
                    node: NodeId(at as u128),
                    cluster,
                });
            }
        }
        self.turn(first);
        self.faults = true;
    }

    pub(crate) fn step(&mut self) {
        match self.random.below(16) {
            0..=4 => {
                let count = 1 + self.random.below(3);
                let state = &self.state;
                let commands = (0..count)
                    .map(|_| commands::any(&mut self.random, state, NODES))
                    .collect();
                self.turn(commands);
            }
            5..=9 => self.work(),
            10..=12 => self.deliver(),
            13 => self.pass_time(),
            14 => self.connect_someone(),
            _ => self.fail_something(),
        }
        let wrong = self.state.audit();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// With faults off every task ends, once it is asked to.
    pub(crate) fn settle(&mut self) {
        self.faults = false;
        for at in 0..NODES {
            self.connect(at);
        }
        self.turn(vec![Command::StopEverything]);
        for _ in 0..2_000 {
            if self.live() == 0 {
                break;
            }
            self.work();
            self.deliver();
        }
        assert_eq!(self.live(), 0, "tasks are left that never end");
        self.now = self.now.plus_ms(100 * 3_600_000);
        for _ in 0..100 {
            self.turn(Vec::new());
        }
        let left = self.state.rows().into_iter();
        let left = left.filter(|row| matches!(row, Row::TaskSpec(_) | Row::ClientToken(_)));
        assert_eq!(
            left.count(),
            0,
            "STOPPED tasks and tokens outlive their time"
        );
        let due = next_due(&self.state);
        assert!(
            due.is_none_or(|due| due > self.now),
            "{due:?} is due for ever"
        );
    }

    fn live(&self) -> usize {
        let live =
            |row: &Row| matches!(row, Row::TaskState(task) if task.last != TaskStatus::Stopped);
        self.state.rows().iter().filter(|row| live(row)).count()
    }

    /// One turn of the leader: decide, commit, and only then answer and tell.
    fn turn(&mut self, commands: Vec<Command>) {
        self.now = self.now.plus_ms(1 + self.random.below(20) as i64);
        let before = self.state.rows();
        let greeted = commands.iter().filter_map(greeting).collect();
        self.state.begin(Turn {
            now: self.now,
            seed: self.random.seed(),
        });
        let mut decisions = Vec::new();
        let mut answered = Vec::new();
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            let before = self.state.rows();
            let request = Request {
                caller: "arn:aws:iam::1:user/dev".into(),
                command,
            };
            match take(&mut self.state, &request) {
                Ok(decision) => {
                    if matches!(decision.answer, Answer::Unfinished) {
                        commands.push_front(request.command.clone());
                    }
                    answered.push((request.command, decision.answer.clone()));
                    decisions.push(decision);
                }
                Err(reject) => {
                    assert_eq!(before, self.state.rows(), "rejected ({reject}) and changed");
                }
            }
        }
        decisions.push(take_due(&mut self.state));
        for decision in &decisions {
            self.moves.check(&decision.changes);
        }
        if self.faults && self.random.one_in(25) {
            // Whether a failed commit took hold is unknown; the process ends either way.
            if self.random.one_in(2) {
                self.commit(&decisions);
            }
            self.reload();
            return;
        }
        if self.faults && self.random.one_in(25) {
            self.take_back(&before, greeted);
            return;
        }
        self.commit(&decisions);
        for (command, answer) in answered {
            self.acknowledge(&command, &answer);
        }
        for decision in decisions {
            self.tell(decision.effects);
        }
    }

    fn commit(&mut self, decisions: &[Decision]) {
        for change in decisions.iter().flat_map(|decision| &decision.changes) {
            match change {
                Change::Put(row) => {
                    let (key, value) = (row.key().encode(), row.encode());
                    self.digest(&key);
                    self.digest(&value);
                    self.store.insert(key, value);
                }
                Change::Remove(key) => {
                    self.digest(&key.encode());
                    self.store.remove(&key.encode());
                    // What time removed is no longer promised.
                    match key {
                        Key::TaskState(task) => {
                            self.acknowledged_tasks.remove(task);
                            self.acknowledged_stops.remove(task);
                        }
                        Key::Definition(key) => {
                            self.acknowledged_definitions.remove(key);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn digest(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// The disk is full: certainly nothing was written, and the process goes on. What agents said
    /// is lost with the turn; who greeted has to do it again.
    fn take_back(&mut self, before: &[Row], greeted: Vec<NodeId>) {
        self.state.roll_back();
        assert_eq!(before, self.state.rows(), "taken back, and still changed");
        self.moves.restart(&self.state);
        for agent in &mut self.agents {
            if greeted.contains(&agent.node) {
                agent.lose_session();
            }
        }
    }

    /// The process starts again from the store.
    fn reload(&mut self) {
        let mut state = State::new();
        for (key, value) in &self.store {
            state.apply(&Change::Put(Row::decode(key, value).unwrap()));
        }
        state.begin(Turn {
            now: self.now,
            seed: [0; 32],
        });
        self.moves.restart(&state);
        self.state = state;
        self.agents.iter_mut().for_each(Agent::lose_session);
        self.check_promises();
    }

    fn check_promises(&self) {
        let rows = self.state.rows();
        let task = |id: &TaskId| {
            rows.iter().find_map(|row| match row {
                Row::TaskState(task) if task.id == *id => Some(task.clone()),
                _ => None,
            })
        };
        for id in &self.acknowledged_tasks {
            assert!(task(id).is_some(), "task {id} was answered and is lost");
        }
        for id in &self.acknowledged_stops {
            let task = task(id).expect("a stopping task is kept");
            assert_eq!(task.desired, Desired::Stopped, "the stop of {id} is lost");
        }
        for key in &self.acknowledged_definitions {
            let kept = rows
                .iter()
                .any(|row| matches!(row, Row::Definition(row) if row.key == *key));
            assert!(kept, "definition {key} was answered and is lost");
        }
    }

    fn acknowledge(&mut self, command: &Command, answer: &Answer) {
        match (command, answer) {
            (_, Answer::Run { tasks, .. }) => {
                self.acknowledged_tasks
                    .extend(tasks.iter().map(|view| view.spec.id));
            }
            (Command::StopTask(stop), Answer::Task(view)) => {
                assert_eq!(view.state.desired, Desired::Stopped);
                self.acknowledged_stops.insert(stop.task);
            }
            (Command::RegisterTaskDefinition(_), Answer::Definition(view)) => {
                let new = self
                    .acknowledged_definitions
                    .insert(view.definition.key.clone());
                assert!(new, "revision {} was given twice", view.definition.key);
            }
            _ => {}
        }
        // What time removed in the same turn is not promised.
        let rows: BTreeSet<TaskId> = self.state.rows().iter().filter_map(task_id).collect();
        self.acknowledged_tasks.retain(|task| rows.contains(task));
        self.acknowledged_stops.retain(|task| rows.contains(task));
    }

    fn tell(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let (node, message) = match effect {
                Effect::Full { node } => (node, Some(ToAgent::Full(self.state.assignments(node)))),
                Effect::Assign { node, task } => {
                    (node, self.state.assignment(task).map(ToAgent::Assign))
                }
                Effect::Forget { node, task } => (node, Some(ToAgent::Forget(task))),
                Effect::Acknowledge {
                    node,
                    task,
                    sequence,
                } => (node, Some(ToAgent::Acknowledge(task, sequence))),
                Effect::Stop { node, task, .. } => (node, Some(ToAgent::Stop(task))),
            };
            let agent = self.agents.iter_mut().find(|agent| agent.node == node);
            if let (Some(agent), Some(message)) = (agent.filter(|agent| agent.session), message) {
                agent.inbox.push_back(message);
            }
        }
    }

    /// An agent takes its next messages and moves a task on.
    fn work(&mut self) {
        let at = self.random.below(NODES);
        let mut unassigned = Vec::new();
        for _ in 0..4 {
            let Some(message) = self.agents[at].inbox.pop_front() else {
                break;
            };
            let taken = self.agents[at].take(message);
            for (task, boot) in taken.started {
                assert_eq!(
                    boot, self.agents[at].boot,
                    "{task} started on a boot not its own"
                );
                let before = self.started.insert(task, boot);
                assert_eq!(before, None, "{task} started twice");
            }
            unassigned.extend(taken.unassigned);
        }
        let agent = &mut self.agents[at];
        self.network.extend(agent.step(&mut self.random));
        if self.random.one_in(3) {
            self.network.extend(self.agents[at].resend());
        }
        if !unassigned.is_empty() && self.agents[at].session {
            let node = self.agents[at].node;
            self.turn(vec![Command::Unassigned {
                node,
                tasks: unassigned,
            }]);
        }
    }

    /// Some reports arrive, in any order; some twice, some never.
    fn deliver(&mut self) {
        let count = self.network.len().min(1 + self.random.below(4));
        let mut reports = Vec::new();
        for _ in 0..count {
            let at = self.random.below(self.network.len());
            let report = self.network.swap_remove(at);
            if self.faults && self.random.one_in(5) {
                continue;
            }
            if self.faults && self.random.one_in(5) {
                self.network.push(report.clone());
            }
            reports.push(Command::Report(Box::new(report)));
        }
        let alive = self.agents.iter().filter(|agent| agent.session);
        reports.extend(alive.map(|agent| Command::Heartbeat(agent.node)));
        self.turn(reports);
    }

    fn connect_someone(&mut self) {
        let at = self.random.below(NODES);
        self.connect(at);
    }

    fn connect(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        agent.lose_session();
        agent.session = true;
        let node = nouns::node(agent.node.0, agent.boot.0);
        self.turn(vec![Command::NodeConnected(Box::new(node))]);
    }

    fn pass_time(&mut self) {
        let ms = *self
            .random
            .pick(&[1_000, 20_000, 40_000, 600_000, 3_700_000]);
        self.now = self.now.plus_ms(ms);
        self.turn(Vec::new());
    }

    fn fail_something(&mut self) {
        let at = self.random.below(NODES);
        match self.random.below(4) {
            0 => {
                self.boots += 1;
                let boot = BootId(self.boots);
                self.agents[at].reboot(boot);
            }
            1 => self.agents[at].lose_session(),
            2 => {
                self.agents[at].lose_session();
                let node = self.agents[at].node;
                self.turn(vec![Command::NodeDisconnected(node)]);
            }
            _ => {
                let before = sorted(self.state.rows());
                self.reload();
                let after = sorted(self.state.rows());
                assert_eq!(before, after, "the store differs from the live state");
            }
        }
    }
}

fn greeting(command: &Command) -> Option<NodeId> {
    match command {
        Command::NodeConnected(node) => Some(node.id),
        Command::Unassigned { node, .. } => Some(*node),
        _ => None,
    }
}

fn task_id(row: &Row) -> Option<TaskId> {
    match row {
        Row::TaskState(task) => Some(task.id),
        _ => None,
    }
}

fn sorted(rows: Vec<Row>) -> BTreeMap<Vec<u8>, Row> {
    rows.into_iter()
        .map(|row| (row.key().encode(), row))
        .collect()
}
