//! Room on the disk below the store: what adds is refused before the room is gone, so that stops
//! and reports still find some.

use crate::leader::Refused;
use crate::limits;
use std::time::Instant;
use windlass_store::{Space, Store};

/// What the leader knows of its disk.
#[derive(Default)]
pub(crate) struct Room {
    read_at: Option<Instant>,
    low: Option<Space>,
    /// When the store last had no room for a turn.
    full_at: Option<Instant>,
}

impl Room {
    /// Refuses what adds while the disk is below the reserve.
    pub(crate) fn refuse_when_low(&mut self, store: &dyn Store) -> Result<(), Refused> {
        let stale = self
            .read_at
            .is_none_or(|at| at.elapsed() >= limits::SPACE_READ_EVERY);
        if stale {
            self.read_at = Some(Instant::now());
            // Not knowing is no reason to refuse: a commit that finds no room says so itself.
            self.low = store.free_space().ok().filter(Space::is_low);
        }
        match &self.low {
            None => Ok(()),
            Some(space) => Err(Refused::DiskLow {
                disk: space.disk.clone(),
                free_mib: space.free_bytes >> 20,
                reserve_mib: space.reserve_bytes >> 20,
            }),
        }
    }

    /// The store had no room for a turn: what was known of the disk is old.
    pub(crate) fn found_full(&mut self) {
        self.read_at = None;
        self.full_at = Some(Instant::now());
    }

    /// Whether what nobody waits for should wait: it would find no room again.
    pub(crate) fn was_full(&self) -> bool {
        self.full_at
            .is_some_and(|at| at.elapsed() < limits::FULL_RETRY_EVERY)
    }
}
