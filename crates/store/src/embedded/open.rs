//! Opens a store, and refuses one that must not be served.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::ballast::Ballast;
use super::lock::Lock;
use super::verdict::Verdict;
use super::watermark::{Reading, Watermark};
use super::{DAY_KEY, Embedded, FORMAT, FORMAT_KEY, OpenDay, Options, TURN_KEY, day_key, journals};
use crate::Error;
use crate::disk::Disk;
use crate::history::Day;
use crate::total::{DayRow, Phase, TurnRow};

/// Blocks of tables kept in memory. The state is in the leader's memory anyway.
const CACHE_BYTES: u64 = 4 << 20;
/// The engine replays its journals at every start, so their size is the time that a start takes.
const JOURNALS_BYTES_MAX: u64 = 64 << 20;
/// Small memtables are flushed soon and let their journals go. Kept with the keyspace when it is made.
const MEMTABLE_BYTES_MAX: u64 = 4 << 20;

/// More than the engine can use between two commits: see [`Guard::catch_up`].
const CATCH_UP_COMMITS: usize = 256;

pub(super) fn keyspace_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX)
}

/// A disk without room is told as such, whatever it was that found none.
pub(super) fn open(dir: &Path, options: Options) -> Result<Embedded, Error> {
    try_open(dir, options).map_err(|error| {
        if !error.is_storage_full() {
            return error;
        }
        let disk = Disk::of(dir);
        Error::Full {
            disk: disk.name().to_owned(),
            free_bytes: disk.free_bytes().unwrap_or(0),
            need_bytes: options.floor_bytes,
        }
    })
}

fn try_open(dir: &Path, options: Options) -> Result<Embedded, Error> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(dir);
    made.map_err(Error::io("create the folder", dir))?;
    let lock = Lock::take(dir)?;
    let (disk, mut ballast) = (Disk::of(dir), Ballast::of(dir, options.ballast_bytes));
    if disk.free_bytes()? < options.floor_bytes {
        ballast.release();
    }
    if let Some(verdict) = Verdict::read(dir)? {
        return Err(verdict.error(dir));
    }
    let acknowledged = match Watermark::read(dir)? {
        Reading::Turn(turn) => Some(turn),
        Reading::Missing => None,
        Reading::Unreadable => {
            return Err(damaged(
                dir,
                0,
                "its watermark is not what was written".to_owned(),
            ));
        }
    };
    let engine = dir.join("engine");
    journals::keep(dir, &engine)?;
    let guard = Guard { dir, acknowledged };
    let db = guard.open_engine(&engine)?;
    let state = guard.engine(
        "open the keyspace `state`",
        db.keyspace("state", keyspace_options),
    )?;
    let turn = guard.read_turn(&db, &state)?;
    guard.compare(turn)?;
    guard.catch_up(&db, &state)?;
    let days = guard.open_days(&db, &state)?;
    let watermark = Watermark::open(dir, turn.turn)?;
    let dir = dir.to_owned();
    let verified = AtomicBool::new(false);
    Ok(Embedded {
        state,
        days,
        db,
        watermark,
        dir,
        disk,
        ballast,
        options,
        turn,
        verified,
        ended: false,
        _lock: lock,
    })
}

/// What is known before the engine is asked.
struct Guard<'dir> {
    dir: &'dir Path,
    /// The watermark, where there is one.
    acknowledged: Option<u64>,
}

impl Guard<'_> {
    fn open_engine(&self, engine: &Path) -> Result<Database, Error> {
        let builder = Database::builder(engine)
            .worker_threads(1)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNALS_BYTES_MAX);
        // The engine asserts some of what it reads from the disk.
        match catch_unwind(AssertUnwindSafe(|| builder.open())) {
            Ok(opened) => self.engine("open the engine", opened),
            Err(_) => Err(self.damaged("its engine cannot read its own files".to_owned())),
        }
    }

    /// Reads the row of the last turn, or begins a store.
    fn read_turn(&self, db: &Database, state: &Keyspace) -> Result<TurnRow, Error> {
        let format = self.engine("read the format", state.get(FORMAT_KEY))?;
        let turn = self.engine("read the turn", state.get(TURN_KEY))?;
        let (format, turn) = match (format, turn) {
            (Some(format), Some(turn)) => (format, turn),
            (None, None) if self.engine("read the state", state.is_empty())? => {
                // A store that was used has a watermark above 0, and is refused by it.
                return self.begin(db, state);
            }
            _ => {
                return Err(
                    self.damaged("the row of its format or of its last turn is missing".to_owned())
                );
            }
        };
        let Some(found) = format.as_ref().try_into().ok().map(u32::from_le_bytes) else {
            return Err(self.damaged("the row of its format changed on disk".to_owned()));
        };
        if found != FORMAT {
            return Err(Error::Format {
                what: format!("store {}", self.dir.display()),
                found,
                known: FORMAT,
            });
        }
        TurnRow::decode(&turn)
            .ok_or_else(|| self.damaged("the row of its last turn changed on disk".to_owned()))
    }

    fn begin(&self, db: &Database, state: &Keyspace) -> Result<TurnRow, Error> {
        if let Some(acknowledged @ 1..) = self.acknowledged {
            return Err(Verdict::Behind {
                store_turn: 0,
                acknowledged,
            }
            .pronounce(self.dir));
        }
        let turn = TurnRow::default();
        let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(state, FORMAT_KEY, FORMAT.to_le_bytes());
        batch.insert(state, TURN_KEY, turn.encode());
        self.engine("begin the store", batch.commit())?;
        Ok(turn)
    }

    fn compare(&self, turn: TurnRow) -> Result<(), Error> {
        match self.acknowledged {
            Some(acknowledged) if acknowledged > turn.turn => Err(Verdict::Behind {
                store_turn: turn.turn,
                acknowledged,
            }
            .pronounce(self.dir)),
            None if turn.turn > 0 => Err(self.damaged(format!(
                "its watermark is missing, so nothing tells whether turn {} was the last one",
                turn.turn
            ))),
            _ => Ok(()),
        }
    }

    /// Opens the days of history that the state knows, and ends drops that were interrupted.
    fn open_days(&self, db: &Database, state: &Keyspace) -> Result<BTreeMap<Day, OpenDay>, Error> {
        let mut days = BTreeMap::new();
        for pair in state.prefix(DAY_KEY) {
            let (key, bytes) = self.engine("read the days of history", pair.into_inner())?;
            let day = key.get(DAY_KEY.len()..).and_then(Day::from_bytes);
            let (Some(day), Some(row)) = (day, DayRow::decode(&bytes)) else {
                return Err(self.damaged("a row of its days of history changed on disk".to_owned()));
            };
            let name = day.keyspace();
            if row.phase == Phase::Dropping {
                self.finish_drop(db, state, day)?;
                continue;
            }
            if !db.keyspace_exists(&name) {
                return Err(self.damaged(format!("the history of {day} is missing")));
            }
            let keyspace = self.engine(
                "open a day of history",
                db.keyspace(&name, keyspace_options),
            )?;
            days.insert(
                day,
                OpenDay {
                    keyspace,
                    row,
                    rotated: false,
                },
            );
        }
        self.adopt_strays(db, &mut days)?;
        Ok(days)
    }

    fn finish_drop(&self, db: &Database, state: &Keyspace, day: Day) -> Result<(), Error> {
        let name = day.keyspace();
        if db.keyspace_exists(&name) {
            let keyspace = self.engine(
                "open a day of history",
                db.keyspace(&name, keyspace_options),
            )?;
            self.engine("drop a day of history", db.delete_keyspace(keyspace))?;
        }
        let mut batch = db.batch().durability(Some(PersistMode::SyncData));
        batch.remove(state, day_key(day));
        self.engine("drop a day of history", batch.commit())
    }

    /// Uses up sequence numbers of the engine, by commits that change nothing.
    ///
    /// The engine makes and deletes keyspaces with numbers that its journals do not hold, and after a
    /// kill counts on from its journals alone. It may then give a new keyspace the id of a deleted
    /// one, and an entry that is older than the deletion: the next start would silently remove it.
    fn catch_up(&self, db: &Database, state: &Keyspace) -> Result<(), Error> {
        for _ in 0..CATCH_UP_COMMITS {
            let mut batch = db.batch();
            batch.insert(state, FORMAT_KEY, FORMAT.to_le_bytes());
            self.engine("commit", batch.commit())?;
        }
        Ok(())
    }

    /// A day's keyspace is made before the first commit into it, so an empty one may be left over and
    /// is used. One with records in it has lost its row.
    fn adopt_strays(&self, db: &Database, days: &mut BTreeMap<Day, OpenDay>) -> Result<(), Error> {
        for name in db.list_keyspace_names() {
            let Some(day) = Day::of_keyspace(&name).filter(|day| !days.contains_key(day)) else {
                continue;
            };
            let keyspace = self.engine(
                "open a day of history",
                db.keyspace(&name, keyspace_options),
            )?;
            if !self.engine("read a day of history", keyspace.is_empty())? {
                return Err(self.damaged(format!(
                    "the row that counts the history of {day} is missing"
                )));
            }
            days.insert(
                day,
                OpenDay {
                    keyspace,
                    row: DayRow::default(),
                    rotated: false,
                },
            );
        }
        Ok(())
    }

    /// Tells damage, which refuses the store for good, from what may pass, like a full disk.
    fn engine<T>(&self, what: &'static str, result: fjall::Result<T>) -> Result<T, Error> {
        result.map_err(|error| match error {
            fjall::Error::Io(ref io) | fjall::Error::Storage(fjall::LsmError::Io(ref io))
                if passes(io) =>
            {
                Error::Engine {
                    what,
                    dir: self.dir.display().to_string(),
                    source: Box::new(error),
                }
            }
            error @ (fjall::Error::Poisoned | fjall::Error::Locked) => Error::Engine {
                what,
                dir: self.dir.display().to_string(),
                source: Box::new(error),
            },
            error => self.damaged(format!("the engine cannot {what}: {error}")),
        })
    }

    fn damaged(&self, what: String) -> Error {
        damaged(self.dir, self.acknowledged.unwrap_or(0), what)
    }
}

/// Whether an error of the kernel says nothing about the files: only a file that is missing or too
/// short is damage; everything else may be better at the next start.
fn passes(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    !matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData
    )
}

fn damaged(dir: &Path, acknowledged: u64, what: String) -> Error {
    Verdict::Damaged { what, acknowledged }.pronounce(dir)
}
