//! StopEverything: every task of every cluster is asked to stop, for `windlass down`. In small
//! steps: all tasks of a region are more than one turn can hold.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::limits::TASKS_PER_STEP_MAX;
use crate::stop;
use windlass_model::id::TaskId;
use windlass_model::status::TaskStatus;
use windlass_model::stop::{Stop, StopCode, StopReason};

pub(crate) fn decide(draft: &mut Draft) -> Answer {
    let state = &draft.state;
    let live = |task: &TaskId| {
        let task = state.tasks.get(task);
        task.is_some_and(|task| task.last != TaskStatus::Stopped)
    };
    let wanted = state.index.cluster_tasks.values().flat_map(|t| &t.wanted);
    let mut wanted = wanted.copied().filter(live);
    let tasks: Vec<TaskId> = wanted.by_ref().take(TASKS_PER_STEP_MAX).collect();
    let more = wanted.next().is_some();
    for task in tasks {
        let stop = Stop {
            code: StopCode::UserInitiated,
            reason: StopReason::ShutDown,
        };
        stop::ask(draft, task, stop);
    }
    if more {
        Answer::Unfinished
    } else {
        Answer::Done
    }
}
