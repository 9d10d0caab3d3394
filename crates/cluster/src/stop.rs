//! Asking that a task stop. Changes the desired status only; the node reports the rest. The first
//! cause wins.

use crate::decision::Effect;
use crate::draft::Draft;
use std::sync::Arc;
use windlass_model::history::Event;
use windlass_model::id::TaskId;
use windlass_model::row::Row;
use windlass_model::status::{Desired, TaskStatus};
use windlass_model::stop::Stop;
use windlass_model::task::TaskState;

/// Says so to the task's node. A task that is stopping or STOPPED already is left as it is.
pub(crate) fn ask(draft: &mut Draft, id: TaskId, stop: Stop) {
    let state = &draft.state;
    let (Some(spec), Some(task)) = (state.specs.get(&id), state.tasks.get(&id)) else {
        return;
    };
    let node = spec.node;
    let mut task = TaskState::clone(task);
    if task.last == TaskStatus::Stopped || !want(&mut task, draft, &stop) {
        return;
    }
    task.version += 1;
    draft.put(Row::TaskState(Arc::new(task)));
    draft.effect(Effect::Assign { node, task: id });
}

/// Writes the desired status and its cause into a task being changed, unless it has one; tells
/// whether it did.
pub(crate) fn want(task: &mut TaskState, draft: &mut Draft, stop: &Stop) -> bool {
    if task.desired == Desired::Stopped {
        return false;
    }
    task.desired = Desired::Stopped;
    task.stopping_at = Some(draft.now());
    task.stop = Some(stop.clone());
    draft.log_task(task.id, Event::StopWanted(stop.clone()));
    true
}
