//! The store's contract without a disk, with faults that its owner chooses: for tests and `sim`.
//!
//! Nothing here is decided by chance: a fault strikes the commit that follows [`Memory::inject`].
//! What a crash leaves is a new store, [`Memory::crash_image`]; the old one is then only a memory of
//! what the dead process believed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::batch::Refusal;
use crate::history::Day;
use crate::{Batch, Error, HistoryRecord, Limits, Snapshot, Space, Store, limits};

/// What happens to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full: refused, nothing written, the store goes on.
    Full,
    /// It fails with an unknown outcome, and was not written.
    FailUnwritten,
    /// It fails with an unknown outcome, and was written.
    FailWritten,
    /// It succeeds, but the disk lied: a crash forgets it and every commit after it.
    Lose,
}

/// A store in memory.
#[derive(Clone, Debug)]
pub struct Memory {
    /// What this process sees.
    content: Content,
    /// What a crash leaves, once that differs from `content`.
    durable: Option<Content>,
    /// The last turn that a commit answered `Ok` for.
    acknowledged: u64,
    faults: VecDeque<Fault>,
    limits: Limits,
    space: Space,
    ended: bool,
}

/// Rows and history by reference, so that a snapshot of a large state is a copy of pointers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    turn: u64,
    rows: BTreeMap<Vec<u8>, Arc<[u8]>>,
    days: BTreeMap<Day, BTreeMap<RecordKey, Arc<[u8]>>>,
}

/// Subject, time, turn, index in the turn.
type RecordKey = (String, i64, u64, u32);

impl Default for Memory {
    fn default() -> Self {
        let space = Space {
            disk: "memory".to_owned(),
            free_bytes: u64::MAX,
            reserve_bytes: limits::RESERVE_BYTES,
        };
        Self {
            content: Content::default(),
            durable: None,
            acknowledged: 0,
            faults: VecDeque::new(),
            limits: limits::LIMITS,
            space,
            ended: false,
        }
    }
}

impl Memory {
    /// An empty store with limits of its own, for tests of turns that reach them.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Lets a fault strike the next commit; several strike one commit each, in order.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push_back(fault);
    }

    /// Sets what [`Store::free_space`] answers.
    pub fn set_free_bytes(&mut self, free_bytes: u64) {
        self.space.free_bytes = free_bytes;
    }

    /// The store as a new process finds it after this one was killed, without pending faults.
    ///
    /// # Errors
    /// [`Error::Behind`] when an acknowledged turn is lost, as the embedded store would say.
    pub fn crash_image(&self) -> Result<Self, Error> {
        let content = self.durable.as_ref().unwrap_or(&self.content).clone();
        if content.turn < self.acknowledged {
            return Err(Error::Behind {
                dir: "in memory".to_owned(),
                store_turn: content.turn,
                acknowledged: self.acknowledged,
                copy: None,
                mend: "begin again from a backup".to_owned(),
            });
        }
        Ok(Self {
            acknowledged: content.turn,
            content,
            durable: None,
            faults: VecDeque::new(),
            limits: self.limits,
            space: self.space.clone(),
            ended: false,
        })
    }

    /// Writes a batch that was checked; records are numbered from `first_index`.
    pub(crate) fn write(&mut self, batch: &Batch, first_index: u32) {
        self.content.apply(batch, first_index);
    }

    fn refuse_if_ended(&self) -> Result<(), Error> {
        if self.ended {
            return Err(Error::Poisoned {
                dir: "in memory".to_owned(),
            });
        }
        Ok(())
    }

    fn fail(&mut self, turn: u64) -> Error {
        self.ended = true;
        Error::Unknown {
            turn,
            disk: self.space.disk.clone(),
            free_bytes: self.space.free_bytes,
            source: "injected fault".into(),
        }
    }
}

impl Store for Memory {
    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        self.refuse_if_ended()?;
        let refused = |refusal: Refusal| Error::Batch {
            turn: batch.turn,
            refusal,
        };
        batch
            .check(&self.limits, self.content.turn)
            .map_err(refused)?;
        match self.faults.pop_front() {
            None => {}
            Some(Fault::Full) => {
                let (disk, free_bytes) = (self.space.disk.clone(), self.space.free_bytes);
                return Err(Error::Full {
                    disk,
                    free_bytes,
                    need_bytes: limits::FLOOR_BYTES,
                });
            }
            Some(Fault::FailUnwritten) => return Err(self.fail(batch.turn)),
            Some(Fault::FailWritten) => {
                self.content.apply(batch, 0);
                return Err(self.fail(batch.turn));
            }
            Some(Fault::Lose) => {
                self.durable.get_or_insert_with(|| self.content.clone());
            }
        }
        self.content.apply(batch, 0);
        self.acknowledged = batch.turn;
        Ok(())
    }

    fn load(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64, Error> {
        self.content
            .rows
            .iter()
            .for_each(|(key, value)| each(key, value));
        Ok(self.content.turn)
    }

    fn history(&self, subject: &str, limit: usize) -> Result<Vec<HistoryRecord>, Error> {
        let first = (subject.to_owned(), i64::MIN, 0, 0);
        let last = (subject.to_owned(), i64::MAX, u64::MAX, u32::MAX);
        let days = self.content.days.values().rev();
        let newest = days.flat_map(|day| day.range(first.clone()..=last.clone()).rev());
        Ok(newest.take(limit).map(record).collect())
    }

    fn drop_history_before(&mut self, day: Day) -> Result<usize, Error> {
        self.refuse_if_ended()?;
        let kept = self.content.days.split_off(&day);
        Ok(std::mem::replace(&mut self.content.days, kept).len())
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn free_space(&self) -> Result<Space, Error> {
        Ok(self.space.clone())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error> {
        self.refuse_if_ended()?;
        Ok(Box::new(self.content.clone()))
    }
}

impl Content {
    fn apply(&mut self, batch: &Batch, first_index: u32) {
        self.turn = batch.turn;
        for (key, value) in &batch.rows {
            match value {
                Some(value) => self.rows.insert(key.clone(), value.as_slice().into()),
                None => self.rows.remove(key),
            };
        }
        for (record, index) in batch.history.iter().zip(first_index..) {
            let key = (record.subject.clone(), record.at_ms, batch.turn, index);
            let day = self.days.entry(Day::of_ms(record.at_ms)).or_default();
            day.insert(key, record.value.as_slice().into());
        }
    }
}

impl Snapshot for Content {
    fn turn(&self) -> u64 {
        self.turn
    }

    fn rows(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.rows
            .iter()
            .try_for_each(|(key, value)| each(key, value))
    }

    fn history(
        &self,
        each: &mut dyn FnMut(&HistoryRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.days
            .values()
            .flatten()
            .try_for_each(|entry| each(&record(entry)))
    }
}

fn record(((subject, at_ms, ..), value): (&RecordKey, &Arc<[u8]>)) -> HistoryRecord {
    HistoryRecord {
        at_ms: *at_ms,
        subject: subject.clone(),
        value: value.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(turn: u64) -> Batch {
        let row = (b"last".to_vec(), Some(turn.to_le_bytes().to_vec()));
        Batch {
            turn,
            rows: vec![row],
            history: Vec::new(),
        }
    }

    /// Commits turns 1 to 3 with a fault in the second, then says what a crash leaves.
    fn after(fault: Fault) -> (Vec<bool>, Result<u64, Error>) {
        let mut store = Memory::default();
        let mut answers = Vec::new();
        for turn in 1..=3 {
            if turn == 2 {
                store.inject(fault);
            }
            answers.push(store.commit(&batch(turn)).is_ok());
        }
        (
            answers,
            store
                .crash_image()
                .and_then(|image| image.load(&mut |_, _| {})),
        )
    }

    #[test]
    fn faults_do_what_they_say() {
        assert!(matches!(after(Fault::Full), (answers, Ok(3)) if answers == [true, false, true]));
        assert!(
            matches!(after(Fault::FailUnwritten), (answers, Ok(1)) if answers == [true, false, false])
        );
        assert!(
            matches!(after(Fault::FailWritten), (answers, Ok(2)) if answers == [true, false, false])
        );
        let (answers, image) = after(Fault::Lose);
        assert_eq!(answers, [true, true, true]);
        assert!(matches!(
            image,
            Err(Error::Behind {
                store_turn: 1,
                acknowledged: 3,
                ..
            })
        ));
    }

    #[test]
    fn only_some_failures_leave_the_outcome_open() {
        let mut store = Memory::default();
        store.inject(Fault::Full);
        store.inject(Fault::FailWritten);
        let outcomes: Vec<_> = (1..=3)
            .map(|turn| {
                store
                    .commit(&batch(turn))
                    .map_err(|error| error.outcome_unknown())
            })
            .collect();
        assert_eq!(outcomes, [Err(false), Err(true), Err(true)]);
        assert!(matches!(store.snapshot(), Err(Error::Poisoned { .. })));
    }
}
