//! Unassigned: tasks that run on a node and that no assignment named. A task missing from a set is
//! never stopped for that: it is assigned again if it belongs there, and stopped by name if not.

use crate::decision::{Answer, Effect};
use crate::draft::Draft;
use windlass_model::id::{NodeId, TaskId};
use windlass_model::stop::{Stop, StopCode, StopReason};

pub(crate) fn decide(draft: &mut Draft, node: NodeId, tasks: &[TaskId]) -> Answer {
    for task in tasks {
        let view = draft
            .state
            .assignment(*task)
            .filter(|view| view.spec.node == node);
        let effect = match view {
            Some(_) => Effect::Assign { node, task: *task },
            None => Effect::Stop {
                node,
                task: *task,
                stop: stray(),
            },
        };
        draft.effect(effect);
    }
    Answer::Done
}

/// Told to a node that runs what it should not. Kept nowhere: the task is unknown or was STOPPED
/// with a cause of its own.
pub(crate) fn stray() -> Stop {
    Stop {
        code: StopCode::InfrastructureHealth,
        reason: StopReason::LostByNode,
    }
}
