//! The newest observation of every task, until the control plane has it.
//!
//! Only the newest is kept and sent: a report is merged upward, so an older one says nothing more.
//! What is not acknowledged is sent again, and all of it when a session begins.

use crate::limits::RESEND_AFTER;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;
use windlass_model::id::TaskId;
use windlass_model::observation::Observation;

#[derive(Default)]
pub(crate) struct Reporter {
    pending: Mutex<BTreeMap<TaskId, Pending>>,
    changed: Notify,
}

struct Pending {
    observation: Observation,
    sent_at: Option<Instant>,
}

impl Reporter {
    /// Takes the place of the task's older observation.
    pub(crate) fn offer(&self, observation: Observation) {
        let pending = Pending {
            observation,
            sent_at: None,
        };
        self.pending().insert(pending.observation.task, pending);
        self.changed.notify_one();
    }

    /// What to send now; it counts as sent.
    pub(crate) fn due(&self) -> Vec<Observation> {
        let now = Instant::now();
        let mut due = Vec::new();
        for pending in self.pending().values_mut() {
            if pending
                .sent_at
                .is_none_or(|at| now.duration_since(at) >= RESEND_AFTER)
            {
                pending.sent_at = Some(now);
                due.push(pending.observation.clone());
            }
        }
        due
    }

    /// A new session: nothing was sent on it yet.
    pub(crate) fn restart(&self) {
        self.pending()
            .values_mut()
            .for_each(|pending| pending.sent_at = None);
    }

    pub(crate) fn acknowledge(&self, task: TaskId, sequence: u64) {
        let mut pending = self.pending();
        if pending
            .get(&task)
            .is_some_and(|p| p.observation.sequence <= sequence)
        {
            pending.remove(&task);
        }
    }

    pub(crate) fn forget(&self, task: TaskId) {
        self.pending().remove(&task);
    }

    /// Ends when something was offered.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<TaskId, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
