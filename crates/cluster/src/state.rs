//! The control plane's memory: every row, and the indexes derived from them.

use crate::index::Index;
use crate::view::TaskView;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use windlass_model::cluster::Cluster;
use windlass_model::definition::{DefinitionKey, DefinitionState, TaskDefinition};
use windlass_model::id::{InstanceId, Millis, Name, NodeId, TaskId};
use windlass_model::instance::{Instance, Node};
use windlass_model::resources::HostPort;
use windlass_model::row::{Change, ClientToken, Family, Key, Row};
use windlass_model::status::TaskStatus;
use windlass_model::task::{TaskSpec, TaskState};

/// The only time and randomness that decisions see. Ids come from a stream of the seed that runs
/// through the turn, so they never repeat within it. Secrets are never made from it.
#[derive(Clone, Debug)]
pub struct Turn {
    pub now: Millis,
    pub seed: [u8; 32],
}

/// Rows are shared with answers; maps are ordered, so that iterating them decides the same way
/// everywhere.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) now: Millis,
    random: ChaCha8Rng,
    begun: bool,
    pub(crate) clusters: BTreeMap<Name, Arc<Cluster>>,
    pub(crate) definitions: BTreeMap<DefinitionKey, Arc<TaskDefinition>>,
    pub(crate) definition_states: BTreeMap<DefinitionKey, Arc<DefinitionState>>,
    pub(crate) families: BTreeMap<Name, Family>,
    pub(crate) nodes: BTreeMap<NodeId, Arc<Node>>,
    pub(crate) instances: BTreeMap<InstanceId, Arc<Instance>>,
    pub(crate) specs: BTreeMap<TaskId, Arc<TaskSpec>>,
    pub(crate) tasks: BTreeMap<TaskId, Arc<TaskState>>,
    pub(crate) tokens: BTreeMap<String, Arc<ClientToken>>,
    pub(crate) index: Index,
    /// When connected nodes gave their last sign of life. Not durable: a new leader counts every
    /// agent as alive until a grace period has passed.
    pub(crate) heard: BTreeMap<NodeId, Millis>,
    /// What the changes of this turn replaced, in their order: see [`State::roll_back`].
    pub(crate) undo: Vec<Change>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    pub fn new() -> State {
        State {
            now: Millis(0),
            random: ChaCha8Rng::from_seed([0; 32]),
            begun: false,
            clusters: BTreeMap::new(),
            definitions: BTreeMap::new(),
            definition_states: BTreeMap::new(),
            families: BTreeMap::new(),
            nodes: BTreeMap::new(),
            instances: BTreeMap::new(),
            specs: BTreeMap::new(),
            tasks: BTreeMap::new(),
            tokens: BTreeMap::new(),
            index: Index::default(),
            heard: BTreeMap::new(),
            undo: Vec::new(),
        }
    }

    /// Starts a turn: what is decided from here on happens at its time. Time never goes back. The
    /// rows of a recovery are applied before the first turn, which gives their nodes grace.
    pub fn begin(&mut self, turn: Turn) {
        self.now = self.now.max(turn.now);
        self.random = ChaCha8Rng::from_seed(turn.seed);
        self.undo.clear();
        if !self.begun {
            self.begun = true;
            let connected = self.nodes.values().filter(|node| node.connected);
            self.heard = connected.map(|node| (node.id, self.now)).collect();
        }
    }

    /// Folds one change in. Recovery and standbys feed the rows of the store through here, in any
    /// order.
    pub fn apply(&mut self, change: &Change) {
        if self.begun {
            self.undo.push(self.inverse(change));
        }
        self.fold(change);
    }

    pub(crate) fn fold(&mut self, change: &Change) {
        match change {
            Change::Put(row) => self.put(row),
            Change::Remove(key) => self.remove(key),
        }
    }

    /// Every row, for a backup.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        rows.extend(self.clusters.values().cloned().map(Row::Cluster));
        rows.extend(self.families.values().cloned().map(Row::Family));
        rows.extend(self.definitions.values().cloned().map(Row::Definition));
        rows.extend(
            self.definition_states
                .values()
                .cloned()
                .map(Row::DefinitionState),
        );
        rows.extend(self.nodes.values().cloned().map(Row::Node));
        rows.extend(self.instances.values().cloned().map(Row::Instance));
        rows.extend(self.specs.values().cloned().map(Row::TaskSpec));
        rows.extend(self.tasks.values().cloned().map(Row::TaskState));
        rows.extend(self.tokens.values().cloned().map(Row::ClientToken));
        rows
    }

    /// What an agent is told of a task; `None` once the task is STOPPED or unknown.
    pub fn assignment(&self, task: TaskId) -> Option<TaskView> {
        let view = self.task_view(task)?;
        (view.state.last != TaskStatus::Stopped).then_some(view)
    }

    /// Everything a node is to run or to end, by task id.
    pub fn assignments(&self, node: NodeId) -> Vec<TaskView> {
        let held = self.index.ledgers.get(&node);
        let tasks = held.into_iter().flat_map(|ledger| &ledger.tasks);
        tasks.filter_map(|task| self.assignment(*task)).collect()
    }

    /// What is wrong with the state, in words; empty when all is well. Recomputes every index, so
    /// it costs the whole state: for tests, simulation and verification of a backup.
    pub fn audit(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut fresh = State::new();
        for row in self.rows() {
            fresh.put(&row);
        }
        for name in self.index.differences(&fresh.index) {
            wrong.push(format!("index {name} differs from what its rows give"));
        }
        for (id, ledger) in &self.index.ledgers {
            match self.nodes.get(id) {
                None => wrong.push(format!("node {id} has tasks and no row")),
                Some(node) => self.audit_node(node, &ledger.tasks, &mut wrong),
            }
        }
        for id in self.specs.keys().chain(self.tasks.keys()) {
            if self.task_view(*id).is_none() {
                wrong.push(format!("task {id} lacks a part: spec, state or definition"));
            }
        }
        wrong
    }

    fn audit_node<'a>(
        &self,
        node: &Node,
        tasks: impl IntoIterator<Item = &'a TaskId>,
        wrong: &mut Vec<String>,
    ) {
        let (mut cpu, mut memory, mut links) = (0u64, 0u64, 0u64);
        let mut ports: BTreeMap<HostPort, TaskId> = BTreeMap::new();
        for spec in tasks.into_iter().filter_map(|id| self.specs.get(id)) {
            cpu = cpu.saturating_add(spec.reserved.cpu_units);
            memory = memory.saturating_add(spec.reserved.memory_mib);
            links = links.saturating_add(spec.reserved.links);
            for port in &spec.reserved.ports {
                let reserved = node.total.ports.contains(port);
                if ports.insert(*port, spec.id).is_some() || reserved {
                    wrong.push(format!("node {} gives port {} twice", node.id, port.port));
                }
            }
        }
        let total = &node.total;
        if cpu > total.cpu_units || memory > total.memory_mib || links > total.links {
            wrong.push(format!(
                "node {} is oversubscribed: {cpu} cpu, {memory} MiB, {links} links",
                node.id
            ));
        }
    }

    /// The next 128 bits of the turn's stream.
    pub(crate) fn random(&mut self) -> u128 {
        u128::from(self.random.next_u64()) << 64 | u128::from(self.random.next_u64())
    }

    fn put(&mut self, row: &Row) {
        match row {
            Row::Cluster(row) => {
                if let Some(old) = self.clusters.insert(row.name.clone(), row.clone()) {
                    self.index.remove_cluster(&old);
                }
                self.index.add_cluster(row);
            }
            Row::Definition(row) => {
                self.definitions.insert(row.key.clone(), row.clone());
            }
            Row::DefinitionState(row) => {
                if let Some(old) = self.definition_states.insert(row.key.clone(), row.clone()) {
                    self.index.remove_definition(&old);
                }
                self.index.add_definition(row);
            }
            Row::Family(row) => {
                self.families.insert(row.name.clone(), row.clone());
            }
            Row::Node(row) => {
                self.nodes.insert(row.id, row.clone());
            }
            Row::Instance(row) => {
                if let Some(old) = self.instances.insert(row.id, row.clone()) {
                    self.index.remove_instance(&old);
                }
                self.index.add_instance(row);
            }
            Row::TaskSpec(row) => self.put_spec(row),
            Row::TaskState(row) => self.put_state(row),
            Row::ClientToken(row) => {
                if let Some(old) = self.tokens.insert(row.token.clone(), row.clone()) {
                    self.index.remove_token(&old);
                }
                self.index.add_token(row);
            }
        }
    }

    /// A task counts in the indexes once both its rows are here.
    fn put_spec(&mut self, row: &Arc<TaskSpec>) {
        let old = self.specs.insert(row.id, row.clone());
        if let Some(state) = self.tasks.get(&row.id) {
            if let Some(old) = &old {
                self.index.remove_task(old, state);
            }
            self.index.add_task(row, state);
        }
    }

    fn put_state(&mut self, row: &Arc<TaskState>) {
        let old = self.tasks.insert(row.id, row.clone());
        let Some(spec) = self.specs.get(&row.id) else {
            return;
        };
        if let Some(old) = &old {
            let same =
                (old.last, old.desired, old.stopped_at) == (row.last, row.desired, row.stopped_at);
            if same {
                return;
            }
            self.index.remove_task(spec, old);
        }
        self.index.add_task(spec, row);
    }

    fn remove(&mut self, key: &Key) {
        match key {
            Key::Cluster(name) => {
                if let Some(old) = self.clusters.remove(name) {
                    self.index.remove_cluster(&old);
                }
            }
            Key::Definition(key) => {
                self.definitions.remove(key);
            }
            Key::DefinitionState(key) => {
                if let Some(old) = self.definition_states.remove(key) {
                    self.index.remove_definition(&old);
                }
            }
            Key::Family(name) => {
                self.families.remove(name);
            }
            Key::Node(id) => {
                self.nodes.remove(id);
            }
            Key::Instance(id) => {
                if let Some(old) = self.instances.remove(id) {
                    self.index.remove_instance(&old);
                }
            }
            Key::TaskSpec(id) => {
                let old = self.specs.remove(id);
                if let (Some(old), Some(state)) = (old, self.tasks.get(id)) {
                    self.index.remove_task(&old, state);
                }
            }
            Key::TaskState(id) => {
                let old = self.tasks.remove(id);
                if let (Some(old), Some(spec)) = (old, self.specs.get(id)) {
                    self.index.remove_task(spec, &old);
                }
            }
            Key::ClientToken(token) => {
                if let Some(old) = self.tokens.remove(token) {
                    self.index.remove_token(&old);
                }
            }
        }
    }
}
