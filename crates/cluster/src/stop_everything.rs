//! StopEverything: every task of every cluster is asked to stop, for `windlass down`.

use crate::decision::Answer;
use crate::draft::Draft;
use crate::stop;
use windlass_model::id::TaskId;
use windlass_model::stop::{Stop, StopCode, StopReason};

pub(crate) fn decide(draft: &mut Draft) -> Answer {
    let ledgers = draft.state.index.ledgers.values();
    let tasks: Vec<TaskId> = ledgers
        .flat_map(|ledger| ledger.tasks.iter().copied())
        .collect();
    for task in tasks {
        let stop = Stop {
            code: StopCode::UserInitiated,
            reason: StopReason::ShutDown,
        };
        stop::ask(draft, task, stop);
    }
    Answer::Done
}
