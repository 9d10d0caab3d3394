//! Who may ask at once: a bounded number of places, a share of them to each source, so that one
//! container's questions starve no other's.
//!
//! When a source has its share, its own oldest makes way. When all places are given, that of the source
//! which holds most does, unless it holds no more than the newcomer: then the newcomer waits.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, Id};

/// When something last happened at a place: larger is later.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    at: Arc<AtomicU64>,
    clock: Arc<AtomicU64>,
}

impl Seen {
    /// Something happens.
    pub(super) fn touch(&self) {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        self.at.store(now, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Place {
    source: IpAddr,
    seen: Seen,
    work: AbortHandle,
}

/// The places of one kind of work.
#[derive(Debug)]
pub(super) struct Places {
    held: HashMap<Id, Place>,
    clock: Arc<AtomicU64>,
    limit: usize,
    share: usize,
}

impl Places {
    pub(super) fn new(limit: usize, share: usize) -> Self {
        Self {
            held: HashMap::new(),
            clock: Arc::default(),
            limit,
            share,
        }
    }

    /// Finds room for one more of a source; ends another's work for it if need be. Answers whether
    /// there is any.
    pub(super) fn make_room(&mut self, source: IpAddr) -> bool {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for place in self.held.values() {
            *counts.entry(place.source).or_default() += 1;
        }
        let own = counts.get(&source).copied().unwrap_or(0);
        let loser = if own >= self.share {
            source
        } else if self.held.len() < self.limit {
            return true;
        } else {
            match counts.into_iter().max_by_key(|(_, count)| *count) {
                Some((busiest, count)) if count > own + 1 => busiest,
                _ => return false,
            }
        };
        let of_loser = self.held.iter().filter(|(_, place)| place.source == loser);
        let oldest = of_loser.min_by_key(|(_, place)| place.seen.at.load(Ordering::Relaxed));
        let Some(oldest) = oldest.map(|(id, _)| *id) else {
            return false;
        };
        if let Some(place) = self.held.remove(&oldest) {
            place.work.abort();
        }
        true
    }

    /// What tells a place's work is alive.
    pub(super) fn seen(&self) -> Seen {
        let seen = Seen {
            at: Arc::default(),
            clock: Arc::clone(&self.clock),
        };
        seen.touch();
        seen
    }

    /// Gives a place to work that was started.
    pub(super) fn give(&mut self, source: IpAddr, seen: Seen, work: AbortHandle) {
        self.held.insert(work.id(), Place { source, seen, work });
    }

    /// The work ended.
    pub(super) fn free(&mut self, work: Id) {
        self.held.remove(&work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinSet;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Places with work that never ends by itself.
    struct Bed {
        places: Places,
        work: JoinSet<()>,
    }

    impl Bed {
        fn new(limit: usize, share: usize) -> Bed {
            Bed {
                places: Places::new(limit, share),
                work: JoinSet::new(),
            }
        }

        fn ask(&mut self, last: u8) -> Option<(Id, Seen)> {
            self.places.make_room(source(last)).then(|| {
                let seen = self.places.seen();
                let work = self.work.spawn(std::future::pending());
                let id = work.id();
                self.places.give(source(last), seen.clone(), work);
                (id, seen)
            })
        }

        fn of(&self, last: u8) -> usize {
            let held = self.places.held.values();
            held.filter(|place| place.source == source(last)).count()
        }
    }

    #[tokio::test]
    async fn a_source_has_its_share_and_its_oldest_makes_way() {
        let mut bed = Bed::new(8, 3);
        let first = bed.ask(1).expect("room");
        let second = bed.ask(1).expect("room");
        bed.ask(1).expect("room");
        first.1.touch();
        bed.ask(1).expect("its own makes way");
        assert_eq!(bed.of(1), 3);
        assert!(bed.places.held.contains_key(&first.0), "it was just used");
        assert!(!bed.places.held.contains_key(&second.0));
        let ended = bed.work.join_next_with_id().await.expect("one ended");
        assert_eq!(ended.expect_err("aborted").id(), second.0);
    }

    #[tokio::test]
    async fn who_holds_most_makes_way_when_all_places_are_given() {
        let mut bed = Bed::new(6, 4);
        for last in [1, 1, 1, 1, 2, 2] {
            bed.ask(last).expect("room");
        }
        for _ in 0..2 {
            bed.ask(3).expect("the busiest makes way");
        }
        assert_eq!((bed.of(1), bed.of(2), bed.of(3)), (2, 2, 2));
        assert!(bed.ask(3).is_none(), "all hold as many");
        let freed = bed
            .places
            .held
            .iter()
            .find(|(_, place)| place.source == source(2));
        let freed = *freed.expect("two").0;
        bed.places.free(freed);
        bed.ask(3).expect("room");
    }
}
