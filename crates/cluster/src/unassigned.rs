//! Unassigned: tasks that run on a node and that no assignment named. A task missing from a set is
//! never stopped for that: it is assigned again if it belongs there, and stopped by name if not.

use crate::decision::{Answer, Effect};
use crate::draft::Draft;
use windlass_model::history::Event;
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
            None => {
                let known = draft.state.specs.contains_key(task);
                let stop = if known { stray() } else { unknown() };
                if !known {
                    // Nothing else says why it ends.
                    draft.log_task(*task, Event::StopWanted(stop.clone()));
                }
                Effect::Stop {
                    node,
                    task: *task,
                    stop,
                }
            }
        };
        draft.effect(effect);
    }
    Answer::Done
}

fn unknown() -> Stop {
    Stop {
        code: StopCode::InfrastructureHealth,
        reason: StopReason::NotInState,
    }
}

/// Told to a node that runs what it should not. Kept nowhere: the task was STOPPED with a
/// cause of its own, or is another node's.
pub(crate) fn stray() -> Stop {
    Stop {
        code: StopCode::InfrastructureHealth,
        reason: StopReason::LostByNode,
    }
}
