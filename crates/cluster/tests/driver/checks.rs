//! What must hold after every step, whatever went wrong before.

use std::collections::BTreeMap;
use windlass_cluster::State;
use windlass_model::id::TaskId;
use windlass_model::row::{Change, Row};
use windlass_model::status::{Desired, TaskStatus};
use windlass_model::task::TaskState;

/// The last state of every task that was ever decided.
#[derive(Default)]
pub(crate) struct Moves(BTreeMap<TaskId, TaskState>);

impl Moves {
    /// Forgets what a failed commit undid.
    pub(crate) fn restart(&mut self, state: &State) {
        self.0.clear();
        for row in state.rows() {
            if let Row::TaskState(task) = row {
                self.0.insert(task.id, TaskState::clone(&task));
            }
        }
    }

    pub(crate) fn check(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Put(Row::TaskState(new)) = change else {
                continue;
            };
            if let Some(old) = self.0.get(&new.id) {
                check_move(old, new);
            }
            self.0.insert(new.id, TaskState::clone(new));
        }
    }
}

fn check_move(old: &TaskState, new: &TaskState) {
    let (from, to) = (old.last, new.last);
    assert!(
        from == to || from.can_become(to),
        "{} moved from {from:?} to {to:?}",
        new.id
    );
    assert!(old.desired <= new.desired, "{} is wanted again", new.id);
    assert!(old.version <= new.version, "{}'s version went back", new.id);
    assert!(
        old.reported <= new.reported,
        "{} merged an old observation",
        new.id
    );
    if old.stop.is_some() {
        assert_eq!(
            old.stop, new.stop,
            "{}'s first cause of stopping changed",
            new.id
        );
    }
    for (old, new) in old.containers.iter().zip(&new.containers) {
        assert!(old.status <= new.status, "container {} went back", new.name);
        assert!(old.exit_code.is_none() || old.exit_code == new.exit_code);
    }
    if new.last == TaskStatus::Stopped {
        assert_eq!(
            new.desired,
            Desired::Stopped,
            "{} stopped though wanted",
            new.id
        );
        assert!(new.stop.is_some(), "{} stopped without a cause", new.id);
        assert!(new.stopped_at.is_some() && new.stopping_at.is_some());
    }
}
