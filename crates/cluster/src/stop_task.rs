//! StopTask: asks that one task stop. A second StopTask is answered and keeps the first reason.
//! The task's tags are removed, as ECS does.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::reject::Reject;
use crate::stop;
use std::sync::Arc;
use windlass_model::command::StopTask;
use windlass_model::row::Row;
use windlass_model::stop::{Stop, StopCode, StopReason};
use windlass_model::task::TaskState;

pub(crate) fn decide(draft: &mut Draft, wanted: &StopTask, by: &str) -> Result<Answer, Reject> {
    draft.state.active_cluster(&wanted.cluster)?;
    let not_found = || Reject::TaskNotFound(wanted.task);
    let view = draft.state.task_view(wanted.task).ok_or_else(not_found)?;
    if view.spec.cluster != wanted.cluster {
        return Err(not_found());
    }
    let reason = StopReason::User {
        reason: wanted.reason.clone(),
        by: by.to_owned(),
    };
    stop::ask(
        draft,
        wanted.task,
        Stop {
            code: StopCode::UserInitiated,
            reason,
        },
    );
    if let Some(task) = draft
        .state
        .tasks
        .get(&wanted.task)
        .filter(|task| !task.tags.is_empty())
    {
        let task = TaskState {
            tags: Vec::new(),
            ..TaskState::clone(task)
        };
        draft.put(Row::TaskState(Arc::new(task)));
    }
    draft
        .state
        .task_view(wanted.task)
        .map(Answer::Task)
        .ok_or_else(not_found)
}
