//! NodeConnected: a machine's agent registers, again or for the first time. Memberships in
//! clusters are AddNode's.
//!
//! A node that returns with another boot runs nothing of the old one. Its old tasks are STOPPED
//! here, for no agent is left that could report it, and so none of them is ever started twice. In
//! small steps, for they may be more than one turn can hold; the node counts as returned, and hears
//! its whole set, with the last of them.

use crate::decision::{Answer, Effect};
use crate::draft::Draft;
use crate::limits::TASKS_PER_STEP_MAX;
use crate::ports_in_use::not_held;
use crate::report;
use crate::stop;
use std::sync::Arc;
use windlass_model::history::Event;
use windlass_model::id::TaskId;
use windlass_model::instance::Node;
use windlass_model::row::Row;
use windlass_model::stop::{Stop, StopCode, StopReason};
use windlass_model::task::TaskState;

pub(crate) fn decide(draft: &mut Draft, node: &Node) -> Answer {
    let node = Node {
        connected: true,
        ..node.clone()
    };
    let id = node.id;
    for task in tasks_of_other_boots(draft, &node) {
        lose(draft, task);
        draft.effect(Effect::Forget { node: id, task });
    }
    if !tasks_of_other_boots(draft, &node).is_empty() {
        return Answer::Unfinished;
    }
    let known = draft.state.nodes.get(&id);
    let was_connected = known.is_some_and(|known| known.connected && known.boot == node.boot);
    let changed_at = match known.filter(|_| was_connected) {
        Some(known) => known.connection_changed_at,
        None => Some(draft.now()),
    };
    let node = Node {
        connection_changed_at: changed_at,
        ports_in_use: not_held(draft.state, id, &node.ports_in_use),
        ..node
    };
    if known.is_none_or(|known| **known != node) {
        draft.put(Row::Node(Arc::new(node)));
    }
    if !was_connected {
        draft.log(format!("node/{id}"), Event::NodeConnected { node: id });
    }
    let now = draft.now();
    draft.state.heard.insert(id, now);
    draft.effect(Effect::Full { node: id });
    Answer::Done
}

/// Some of them: one step's.
fn tasks_of_other_boots(draft: &Draft, node: &Node) -> Vec<TaskId> {
    let Some(ledger) = draft.state.index.ledgers.get(&node.id) else {
        return Vec::new();
    };
    let other = |task: &&TaskId| {
        draft
            .state
            .specs
            .get(task)
            .is_some_and(|spec| spec.boot != node.boot)
    };
    let tasks = ledger.tasks.iter().filter(other).copied();
    tasks.take(TASKS_PER_STEP_MAX).collect()
}

/// The task ended with its machine.
fn lose(draft: &mut Draft, id: TaskId) {
    let Some(view) = draft.state.task_view(id) else {
        return;
    };
    let mut task = TaskState::clone(&view.state);
    let stop = Stop {
        code: StopCode::InfrastructureHealth,
        reason: StopReason::NodeRebooted,
    };
    stop::want(&mut task, draft, &stop);
    report::end(&mut task, draft);
    task.version += 1;
    draft.put(Row::TaskState(Arc::new(task)));
}
