//! The default store: one folder on one machine, served by one process.
//!
//! ```text
//! <dir>/lock                   held by the process that serves the store
//! <dir>/watermark              the last turn acknowledged
//! <dir>/ballast                room that is given up when the disk is full
//! <dir>/engine/                fjall: keyspace `state`, and one keyspace for each day of history
//! <dir>/journals-before-start/ only while a start is under way, or was refused: see below
//! <dir>/refused                only after a refused start: why
//! ```
//!
//! A commit is one transaction of the engine over all keyspaces, synced before it returns. It carries
//! the turn's number and the totals of all rows and of each day of history, so that whatever the
//! engine loses is found at the next load. The engine itself cannot tell a damaged journal from
//! one that a power cut left unfinished: it cuts the journal off there and goes on. Hence the guard:
//! journals are copied before they are opened, the watermark is compared with the turn found, and
//! totals and checksums with the rows found. A store that fails is refused, now and at later starts.

mod ballast;
mod journals;
mod lock;
mod open;
mod verdict;
mod view;
mod watermark;

pub use lock::{Holder, holder};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode};

use crate::batch::Refusal;
use crate::disk::Disk;
use crate::history::{self, Day};
use crate::total::{DayRow, Phase, TurnRow};
use crate::{Batch, Error, HistoryRecord, Limits, Snapshot, Space, Store, limits, row};
use ballast::Ballast;
use lock::Lock;
use verdict::Verdict;
use view::{OWN, View, head_key, part_key};
use watermark::Watermark;

/// The format of what lies in the engine. It changes with the meaning of any byte there.
pub const FORMAT: u32 = 1;

const TURN_KEY: &[u8] = &[OWN, b't'];
const FORMAT_KEY: &[u8] = &[OWN, b'f'];
const DAY_KEY: &[u8] = &[OWN, b'd'];

/// How much room a store leaves on its disk.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// See [`Space::reserve_bytes`].
    pub reserve_bytes: u64,
    /// Free bytes below which a commit is refused before it starts; 0 turns the check off.
    pub floor_bytes: u64,
    /// Bytes set aside on the disk and given up when it is below the floor; 0 sets nothing aside.
    pub ballast_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reserve_bytes: limits::RESERVE_BYTES,
            floor_bytes: limits::FLOOR_BYTES,
            ballast_bytes: limits::BALLAST_BYTES,
        }
    }
}

/// A store in a folder. See the module's documentation.
pub struct Embedded {
    // Fields drop in this order: the engine must be closed before the lock is given up.
    state: Keyspace,
    days: BTreeMap<Day, OpenDay>,
    db: Database,
    watermark: Watermark,
    dir: PathBuf,
    disk: Disk,
    ballast: Ballast,
    options: Options,
    turn: TurnRow,
    /// Whether every row was verified since the store was opened.
    verified: AtomicBool,
    /// Whether a write failed half way.
    ended: bool,
    _lock: Lock,
}

/// A day of history that is in use.
struct OpenDay {
    keyspace: Keyspace,
    row: DayRow,
    /// Whether its memtable was handed to the flusher since the last write.
    rotated: bool,
}

impl Store for Embedded {
    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        self.refuse_if_ended()?;
        if let Err(refusal) = batch.check(&limits::LIMITS, self.turn.turn) {
            return Err(Error::Batch {
                turn: batch.turn,
                refusal,
            });
        }
        // Committing on top of what was never verified would make the loss permanent.
        if !self.verified.load(Ordering::Relaxed) {
            self.load(&mut |_, _| {})?;
        }
        self.write(batch, 0)
    }

    fn load(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64, Error> {
        let view = self.view(|day| day.row.phase == Phase::Open);
        let loaded = view
            .rows(&mut |key, value| {
                each(key, value);
                Ok(())
            })
            // Only days that may lie in a journal: the engine misses a table by itself, and reading
            // a month of history would make every start slow.
            .and_then(|()| view.history(&mut |_| Ok(())));
        match loaded {
            Ok(()) => {
                journals::forget(&self.dir)?;
                self.verified.store(true, Ordering::Relaxed);
                Ok(self.turn.turn)
            }
            Err(Error::Damaged { what, .. }) => Err(Verdict::Damaged {
                what,
                acknowledged: self.turn.turn,
            }
            .pronounce(&self.dir)),
            Err(error) => Err(error),
        }
    }

    fn history(&self, subject: &str, limit: usize) -> Result<Vec<HistoryRecord>, Error> {
        let view = self.view(|_| false);
        let mut found = Vec::new();
        for day in self.days.values().rev() {
            if found.len() >= limit {
                break;
            }
            view.newest(&day.keyspace, subject, limit, &mut found)?;
        }
        Ok(found)
    }

    fn drop_history_before(&mut self, day: Day) -> Result<usize, Error> {
        self.refuse_if_ended()?;
        let old: Vec<Day> = self.days.range(..day).map(|(day, _)| *day).collect();
        if old.is_empty() {
            return Ok(0);
        }
        self.refuse_if_full(0)?;
        // Day by day, so that few numbers of the engine lie between a deletion and the next commit:
        // see `open::catch_up`.
        for day in &old {
            self.drop_day(*day)?;
        }
        Ok(old.len())
    }

    fn limits(&self) -> Limits {
        limits::LIMITS
    }

    fn free_space(&self) -> Result<Space, Error> {
        Ok(Space {
            disk: self.disk.name().to_owned(),
            free_bytes: self.disk.free_bytes()?,
            reserve_bytes: self.options.reserve_bytes,
        })
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error> {
        self.refuse_if_ended()?;
        Ok(Box::new(self.view(|_| true)))
    }
}

impl Embedded {
    /// Opens the store of a folder, or makes a new one.
    ///
    /// # Errors
    /// [`Error::InUse`] beside another process; [`Error::Behind`] and [`Error::Damaged`] for a store
    /// that must not be served; [`Error::Format`] for one of another release; else what the kernel says.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        open::open(dir, options)
    }

    /// Whether a folder holds a store, sound or not.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join("engine").exists()
    }

    /// Whether nothing was ever committed.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.turn == TurnRow::default()
    }

    /// Writes a batch that was checked. Its records are numbered from `first_index`, so that a
    /// restore can write one turn in several batches.
    pub(crate) fn write(&mut self, batch: &Batch, first_index: u32) -> Result<(), Error> {
        self.refuse_if_full(batch.bytes())?;
        self.begin_days(batch)?;
        let mut write = self.engine_batch();
        let turn = self.put_rows(&mut write, batch)?;
        let rows = self.put_history(&mut write, batch, first_index);
        write.insert(&self.state, TURN_KEY, turn.encode());
        self.commit_engine(write, batch.turn)?;
        self.turn = turn;
        for (day, row) in rows {
            if let Some(open) = self.days.get_mut(&day) {
                open.rotated &= row.phase == Phase::Sealed;
                open.row = row;
            }
        }
        self.watermark
            .write(batch.turn)
            .map_err(|error| self.end(batch.turn, Box::new(error)))
    }

    fn drop_day(&mut self, day: Day) -> Result<(), Error> {
        // The mark comes first: a keyspace without it is missing, one with it is on its way out.
        let row = DayRow {
            phase: Phase::Dropping,
            ..DayRow::default()
        };
        let mut mark = self.engine_batch();
        mark.insert(&self.state, day_key(day), row.encode());
        self.commit_engine(mark, self.turn.turn)?;
        if let Some(open) = self.days.remove(&day) {
            let deleted = self.db.delete_keyspace(open.keyspace);
            deleted.map_err(|error| self.end(self.turn.turn, Box::new(error)))?;
        }
        let mut done = self.engine_batch();
        done.remove(&self.state, day_key(day));
        self.commit_engine(done, self.turn.turn)
    }

    /// Puts the rows into a transaction and gives the turn's row for it. The old value of each key is
    /// read first: its checksum leaves the total, and its parts leave the disk.
    fn put_rows(&self, write: &mut OwnedWriteBatch, batch: &Batch) -> Result<TurnRow, Error> {
        let mut turn = TurnRow {
            turn: batch.turn,
            ..self.turn
        };
        for (key, value) in &batch.rows {
            let head_key = head_key(key);
            let old = self
                .state
                .get(&head_key)
                .map_err(|source| self.engine("read a row", source))?;
            let existed = old.is_some();
            let mut old_parts = 0;
            if let Some(old) = old {
                let Some(head) = row::head(&old) else {
                    let what = format!("row {} changed on disk", crate::batch::show(key));
                    return Err(Verdict::Damaged {
                        what,
                        acknowledged: self.turn.turn,
                    }
                    .pronounce(&self.dir));
                };
                turn.rows.remove(head.checksum);
                old_parts = head.further;
            }
            let mut parts = 0;
            match value {
                Some(value) => {
                    let split = row::split(key, value);
                    turn.rows.add(split.checksum);
                    write.insert(&self.state, head_key, split.head);
                    for part in split.further {
                        parts += 1;
                        write.insert(&self.state, part_key(key, parts), part);
                    }
                }
                // A tombstone for what is not there would only take room.
                None if existed => write.remove(&self.state, head_key),
                None => {}
            }
            for part in parts..old_parts {
                write.remove(&self.state, part_key(key, part + 1));
            }
        }
        Ok(turn)
    }

    /// Puts the history into a transaction, and the rows of the days that change by it.
    fn put_history(
        &self,
        write: &mut OwnedWriteBatch,
        batch: &Batch,
        first_index: u32,
    ) -> BTreeMap<Day, DayRow> {
        let mut rows = BTreeMap::new();
        for (day, open) in &self.days {
            // An older day whose memtables are all flushed needs no journal any more.
            if open.rotated
                && open.row.phase == Phase::Open
                && open.keyspace.sealed_memtable_count() == 0
            {
                rows.insert(
                    *day,
                    DayRow {
                        phase: Phase::Sealed,
                        ..open.row
                    },
                );
            }
        }
        for (record, index) in batch.history.iter().zip(first_index..) {
            let day = Day::of_ms(record.at_ms);
            let Some(open) = self.days.get(&day) else {
                continue;
            };
            let key = history::key(record, batch.turn, index);
            let split = row::split(&key, &record.value);
            let row = rows.entry(day).or_insert(open.row);
            row.phase = Phase::Open;
            row.records.add(split.checksum);
            let part_of = |part: u16| [key.as_slice(), &part.to_be_bytes()].concat();
            write.insert(&open.keyspace, part_of(0), split.head);
            for (part, number) in split.further.zip(1..) {
                write.insert(&open.keyspace, part_of(number), part);
            }
        }
        for (day, row) in &rows {
            write.insert(&self.state, day_key(*day), row.encode());
        }
        rows
    }

    /// Makes a keyspace for every day that a batch begins, and hands older days to the flusher.
    fn begin_days(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut new: Vec<Day> = batch
            .history
            .iter()
            .map(|record| Day::of_ms(record.at_ms))
            .collect();
        new.sort_unstable();
        new.dedup();
        new.retain(|day| !self.days.contains_key(day));
        for (what, count, max) in [
            ("new days", new.len(), limits::BATCH_NEW_DAYS_MAX),
            (
                "days",
                self.days.len() + new.len(),
                limits::HISTORY_DAYS_MAX,
            ),
        ] {
            if !new.is_empty() && count > max {
                return Err(Error::Batch {
                    turn: batch.turn,
                    refusal: Refusal::TooManyDays { what, count, max },
                });
            }
        }
        for day in new {
            let made = self.db.keyspace(&day.keyspace(), open::keyspace_options);
            let keyspace = made.map_err(|error| self.end(batch.turn, Box::new(error)))?;
            self.days.insert(
                day,
                OpenDay {
                    keyspace,
                    row: DayRow::default(),
                    rotated: false,
                },
            );
        }
        self.rotate_past_days(batch.turn)
    }

    /// A journal stays until everything in it is flushed: an old day that nobody writes would pin
    /// journals, and make the next start slow.
    fn rotate_past_days(&mut self, turn: u64) -> Result<(), Error> {
        let Some(newest) = self.days.keys().next_back().copied() else {
            return Ok(());
        };
        let mut failed = None;
        for (_, open) in self.days.range_mut(..newest) {
            if open.row.phase == Phase::Open && !open.rotated {
                match open.keyspace.rotate_memtable() {
                    Ok(_) => open.rotated = true,
                    Err(error) => failed = Some(error),
                }
            }
        }
        failed.map_or(Ok(()), |error| Err(self.end(turn, Box::new(error))))
    }

    fn engine_batch(&self) -> OwnedWriteBatch {
        self.db.batch().durability(Some(PersistMode::SyncData))
    }

    fn commit_engine(&mut self, write: OwnedWriteBatch, turn: u64) -> Result<(), Error> {
        write
            .commit()
            .map_err(|error| self.end(turn, Box::new(error)))
    }

    /// A view of the last commit, with the days that are asked for.
    fn view(&self, wanted: impl Fn(&OpenDay) -> bool) -> View {
        let wanted = self.days.iter().filter(|(_, day)| wanted(day));
        View {
            dir: self.dir.clone(),
            snapshot: self.db.snapshot(),
            state: self.state.clone(),
            days: wanted
                .map(|(day, open)| (*day, open.keyspace.clone(), open.row.records))
                .collect(),
            turn: self.turn,
        }
    }

    /// Looks for room before a write of so many bytes starts: one that fails half way would end the
    /// use of the store.
    fn refuse_if_full(&mut self, bytes: usize) -> Result<(), Error> {
        if self.options.floor_bytes == 0 {
            return Ok(());
        }
        // Once in the journal and once in a table.
        let twice = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2);
        let need_bytes = self.options.floor_bytes.saturating_add(twice);
        let mut free_bytes = self.disk.free_bytes()?;
        if free_bytes < need_bytes && self.ballast.release() {
            free_bytes = self.disk.free_bytes()?;
        }
        if free_bytes < need_bytes {
            return Err(Error::Full {
                disk: self.disk.name().to_owned(),
                free_bytes,
                need_bytes,
            });
        }
        self.ballast.lay(free_bytes, self.options.reserve_bytes);
        Ok(())
    }

    fn refuse_if_ended(&self) -> Result<(), Error> {
        if self.ended {
            return Err(Error::Poisoned {
                dir: self.dir.display().to_string(),
            });
        }
        Ok(())
    }

    /// Ends the use of this store after a write that failed half way.
    fn end(&mut self, turn: u64, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
        self.ended = true;
        let free_bytes = self.disk.free_bytes().unwrap_or(0);
        Error::Unknown {
            turn,
            disk: self.disk.name().to_owned(),
            free_bytes,
            source,
        }
    }

    fn engine(&self, what: &'static str, source: fjall::Error) -> Error {
        Error::Engine {
            what,
            dir: self.dir.display().to_string(),
            source: Box::new(source),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // A clean end leaves the watermark durable; a failure here loses nothing that was promised.
        drop(self.watermark.sync());
    }
}

fn day_key(day: Day) -> Vec<u8> {
    [DAY_KEY, &day.to_bytes()].concat()
}
