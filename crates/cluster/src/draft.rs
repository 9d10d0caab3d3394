//! A decision in the making: every change goes into the state at once, so that what follows sees
//! it, and is remembered for the commit.

use crate::decision::{Answer, Decision, Effect};
use crate::reject::Reject;
use crate::state::State;
use std::sync::Arc;
use windlass_model::cluster::{Cluster, ClusterStatus};
use windlass_model::history::{Entry, Event};
use windlass_model::id::{Millis, Name, TaskId};
use windlass_model::row::{Change, Key, Row};

pub(crate) struct Draft<'a> {
    pub state: &'a mut State,
    changes: Vec<Change>,
    history: Vec<Entry>,
    effects: Vec<Effect>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(state: &'a mut State) -> Draft<'a> {
        Draft {
            state,
            changes: Vec::new(),
            history: Vec::new(),
            effects: Vec::new(),
        }
    }

    pub(crate) fn finish(self, answer: Answer) -> Decision {
        Decision {
            changes: self.changes,
            history: self.history,
            answer,
            effects: self.effects,
        }
    }

    pub(crate) fn now(&self) -> Millis {
        self.state.now
    }

    pub(crate) fn put(&mut self, row: Row) {
        let change = Change::Put(row);
        self.state.apply(&change);
        self.changes.push(change);
    }

    pub(crate) fn remove(&mut self, key: Key) {
        let change = Change::Remove(key);
        self.state.apply(&change);
        self.changes.push(change);
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Adds to the history of `subject`, such as `cluster/web`.
    pub(crate) fn log(&mut self, subject: String, event: Event) {
        self.history.push(Entry {
            at: self.state.now,
            subject,
            event,
        });
    }

    pub(crate) fn log_task(&mut self, task: TaskId, event: Event) {
        self.log(format!("task/{task}"), event);
    }
}

impl State {
    /// A cluster to work with. What a deleted one held is not shown any more: only DescribeClusters
    /// still knows it. Source: ECS, ClusterNotFoundException.
    pub(crate) fn active_cluster(&self, name: &Name) -> Result<&Arc<Cluster>, Reject> {
        let cluster = self
            .clusters
            .get(name)
            .ok_or_else(|| Reject::ClusterNotFound(name.clone()))?;
        match cluster.status {
            ClusterStatus::Active => Ok(cluster),
            ClusterStatus::Inactive => Err(Reject::ClusterInactive(name.clone())),
        }
    }
}
