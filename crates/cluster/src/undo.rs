//! Taking a turn back, when its commit certainly wrote nothing: the disk is full.
//!
//! Every change of a turn goes into the state at once, so what it replaced is kept until the next
//! turn begins. Time is not taken back: it never goes back.

use crate::state::State;
use windlass_model::row::{Change, Key, Row};

impl State {
    /// Makes the state what it was when the turn began, as if none of its decisions had been made.
    /// Whoever hears of them is the caller's affair: their answers and effects must not leave.
    pub fn roll_back(&mut self) {
        for change in std::mem::take(&mut self.undo).into_iter().rev() {
            self.fold(&change);
        }
        // Signs of life are no rows. Of a node whose connection was taken back there are none; one
        // whose disconnection was taken back is given grace, and found silent if it is.
        let connected = self.nodes.values().filter(|node| node.connected);
        self.heard = connected
            .map(|node| (node.id, *self.heard.get(&node.id).unwrap_or(&self.now)))
            .collect();
    }

    /// What makes a change unmade.
    pub(crate) fn inverse(&self, change: &Change) -> Change {
        let key = match change {
            Change::Put(row) => row.key(),
            Change::Remove(key) => key.clone(),
        };
        self.row(&key).map_or(Change::Remove(key), Change::Put)
    }

    fn row(&self, key: &Key) -> Option<Row> {
        match key {
            Key::Cluster(name) => self.clusters.get(name).cloned().map(Row::Cluster),
            Key::Definition(key) => self.definitions.get(key).cloned().map(Row::Definition),
            Key::DefinitionState(key) => {
                let state = self.definition_states.get(key).cloned();
                state.map(Row::DefinitionState)
            }
            Key::Family(name) => self.families.get(name).cloned().map(Row::Family),
            Key::Node(id) => self.nodes.get(id).cloned().map(Row::Node),
            Key::Instance(id) => self.instances.get(id).cloned().map(Row::Instance),
            Key::TaskSpec(id) => self.specs.get(id).cloned().map(Row::TaskSpec),
            Key::TaskState(id) => self.tasks.get(id).cloned().map(Row::TaskState),
            Key::ClientToken(token) => self.tokens.get(token).cloned().map(Row::ClientToken),
        }
    }
}
