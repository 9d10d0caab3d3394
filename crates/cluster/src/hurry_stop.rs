//! HurryStop: tasks that are to stop get less time than their definitions give them. In small steps,
//! as StopEverything, where it is about all of them.

use crate::decision::{Answer, Effect};
use crate::draft::Draft;
use crate::limits::TASKS_PER_STEP_MAX;
use crate::state::State;
use std::sync::Arc;
use windlass_model::command::HurryStop;
use windlass_model::id::TaskId;
use windlass_model::row::Row;
use windlass_model::status::{Desired, TaskStatus};
use windlass_model::task::TaskState;

/// A task that runs on, or has less time already, is left as it is.
pub(crate) fn decide(draft: &mut Draft, wanted: &HurryStop) -> Answer {
    let within_s = wanted.within_s;
    let state = &draft.state;
    let (tasks, more) = match wanted.task {
        Some(task) => (vec![task], false),
        None => {
            let all = state.index.cluster_tasks.values().flat_map(|t| &t.unwanted);
            let mut slow = all.copied().filter(|task| gains(state, *task, within_s));
            let some = slow.by_ref().take(TASKS_PER_STEP_MAX).collect();
            (some, slow.next().is_some())
        }
    };
    for task in tasks {
        hurry(draft, task, within_s);
    }
    if more {
        Answer::Unfinished
    } else {
        Answer::Done
    }
}

fn gains(state: &State, task: TaskId, within_s: u32) -> bool {
    state.tasks.get(&task).is_some_and(|task| {
        let is_stopping = task.desired == Desired::Stopped && task.last != TaskStatus::Stopped;
        is_stopping && task.stop_within_s.is_none_or(|known| known > within_s)
    })
}

fn hurry(draft: &mut Draft, id: TaskId, within_s: u32) {
    if !gains(draft.state, id, within_s) {
        return;
    }
    let (Some(spec), Some(task)) = (draft.state.specs.get(&id), draft.state.tasks.get(&id)) else {
        return;
    };
    let node = spec.node;
    let task = TaskState {
        stop_within_s: Some(within_s),
        ..TaskState::clone(task)
    };
    draft.put(Row::TaskState(Arc::new(task)));
    draft.effect(Effect::Assign { node, task: id });
}
