//! The agent's time: the wall clock as it was at the start, moved on by the monotonic one, so that
//! a jump of the wall clock fires no deadline.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use windlass_model::id::Millis;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall_ms: i64,
    since: Instant,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let wall_ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        Clock {
            wall_ms,
            since: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Millis {
        let passed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        Millis(self.wall_ms.saturating_add(passed))
    }
}
