//! Time enters here, once a turn. It follows the monotonic clock from the wall clock's value at
//! start: a jump of the wall clock fires no deadline.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use windlass_model::id::Millis;

/// Where `now` and randomness come from.
pub trait Clock: Send {
    fn now(&mut self) -> Millis;
    fn seed(&mut self) -> [u8; 32];
}

/// The machine's clock and the kernel's randomness.
pub struct SystemClock {
    started: Instant,
    wall_at_start: i64,
}

impl SystemClock {
    pub fn new() -> SystemClock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        SystemClock {
            started: Instant::now(),
            wall_at_start: wall.map_or(0, |wall| {
                i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
            }),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Millis {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Millis(self.wall_at_start).plus_ms(elapsed)
    }

    fn seed(&mut self) -> [u8; 32] {
        rand::random()
    }
}
