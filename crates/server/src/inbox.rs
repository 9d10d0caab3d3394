//! The leader's bounded inbox: calls and reports have a share each, so that neither crowds out the
//! other. Taken in batches: what arrived while a turn was committed is the next turn.

use crate::limits;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct Inbox<T> {
    queues: Mutex<Queues<T>>,
    arrived: Condvar,
}

struct Queues<T> {
    calls: VecDeque<T>,
    reports: VecDeque<T>,
    closed: bool,
}

/// Why an item was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Full,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Share {
    Calls,
    Reports,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox {
            queues: Mutex::new(Queues {
                calls: VecDeque::new(),
                reports: VecDeque::new(),
                closed: false,
            }),
            arrived: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues<T>> {
        // A panic elsewhere leaves whole items in the queues: they are still good.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, share: Share, item: T) -> Result<(), NotTaken> {
        let mut queues = self.lock();
        if queues.closed {
            return Err(NotTaken::Closed);
        }
        let (queue, max) = match share {
            Share::Calls => (&mut queues.calls, limits::INBOX_CALLS_MAX),
            Share::Reports => (&mut queues.reports, limits::INBOX_REPORTS_MAX),
        };
        if queue.len() >= max {
            return Err(NotTaken::Full);
        }
        queue.push_back(item);
        drop(queues);
        self.arrived.notify_one();
        Ok(())
    }

    /// Calls and reports that wait.
    pub(crate) fn depths(&self) -> (usize, usize) {
        let queues = self.lock();
        (queues.calls.len(), queues.reports.len())
    }

    /// Waits at most `patience` for something, then takes up to a turn's worth: reports first, so
    /// that a flood of calls decides on fresh observations. `None` once closed and empty.
    pub(crate) fn take(&self, patience: Duration) -> Option<Vec<T>> {
        let mut queues = self.lock();
        if queues.calls.is_empty() && queues.reports.is_empty() && !queues.closed {
            queues = self
                .arrived
                .wait_timeout(queues, patience)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if queues.closed && queues.calls.is_empty() && queues.reports.is_empty() {
            return None;
        }
        let reports = queues.reports.len().min(limits::TURN_REQUESTS_MAX / 2);
        let calls = queues.calls.len().min(limits::TURN_REQUESTS_MAX - reports);
        let mut batch: Vec<T> = queues.reports.drain(..reports).collect();
        batch.extend(queues.calls.drain(..calls));
        Some(batch)
    }

    /// Nothing more is taken in; what is in is still given out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Nothing is taken in or given out any more. What waits is dropped: whoever asked is told, by
    /// the end of the item, and does not wait for ever.
    pub(crate) fn abandon(&self) {
        let mut queues = self.lock();
        queues.closed = true;
        let left = (
            std::mem::take(&mut queues.calls),
            std::mem::take(&mut queues.reports),
        );
        // Outside the lock: dropping an item wakes its caller.
        drop(queues);
        drop(left);
        self.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_apart() {
        let inbox = Inbox::new();
        for n in 0..limits::INBOX_CALLS_MAX {
            assert_eq!(inbox.put(Share::Calls, n), Ok(()));
        }
        assert_eq!(inbox.put(Share::Calls, 0), Err(NotTaken::Full));
        assert_eq!(inbox.put(Share::Reports, 7_777), Ok(()));
        let batch = inbox.take(Duration::ZERO).unwrap();
        assert_eq!(batch.len(), limits::TURN_REQUESTS_MAX);
        assert_eq!(batch[..3], [7_777, 0, 1]);
    }

    #[test]
    fn a_closed_inbox_gives_out_what_it_has() {
        let inbox = Inbox::new();
        inbox.put(Share::Calls, 1).unwrap();
        inbox.close();
        assert_eq!(inbox.put(Share::Calls, 2), Err(NotTaken::Closed));
        assert_eq!(inbox.take(Duration::ZERO), Some(vec![1]));
        assert_eq!(inbox.take(Duration::ZERO), None);
    }
}
