//! Durable state of the control plane: rows, the number of the turn that wrote them, and history.
//!
//! **Scope.** A [`Store`] takes one [`Batch`] a turn and makes it durable as a whole, gives every row
//! back at start, and keeps history by subject and day. Keys and values are bytes: what they mean is
//! the model's affair, so that this crate does not change when a noun does.
//!
//! **Not here.** Deciding what to write (the leader), encoding rows, replication to a standby and
//! leader election: these need a shared backend, and neither implementation below is one.
//!
//! Where to look:
//! - [`batch`]: what a turn writes, and what is refused before anything is written;
//! - [`embedded`]: the default, one folder on one machine, with the guard that refuses a store which
//!   lost or changed what was acknowledged;
//! - [`memory`]: the same contract without a disk, with faults that tests and the simulator choose;
//! - [`backup`]: a documented format of its own, written while the store is in use, and restored
//!   into an empty folder;
//! - [`error`]: every way to fail, and whether the outcome of a commit is known after it.
//!
//! A leader's use, in order: open, [`Store::load`], then one [`Store::commit`] a turn. When a commit
//! fails and [`Error::outcome_unknown`] says so, the process ends and starts again from the store.

pub mod backup;
pub mod batch;
mod disk;
pub mod embedded;
pub mod error;
pub mod history;
pub mod limits;
pub mod memory;
mod row;
mod total;

pub use batch::{Batch, HistoryRecord};
pub use disk::Disk;
pub use embedded::Embedded;
pub use error::Error;
pub use history::Day;
pub use memory::Memory;

/// Keeps the rows of the state and its history.
///
/// An implementation is used by one leader at a time. Everything a successful [`Store::commit`]
/// wrote survives the end of the process and of the machine.
pub trait Store: Send {
    /// Makes a turn durable as a whole; it is durable when this returns `Ok`.
    ///
    /// # Errors
    /// Refused batches ([`Error::Batch`]) and a disk without room ([`Error::Full`]) leave the store
    /// as it was and usable. After any error for which [`Error::outcome_unknown`] is true the batch
    /// may or may not be there: the process must end and open the store again.
    fn commit(&mut self, batch: &Batch) -> Result<(), Error>;

    /// Calls `each` with the key and the whole value of every row, in order of keys, and returns the
    /// number of the last turn (0 for a new store). Every row, and that none is missing, is verified.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a row changed or is missing; `each` may have been called by then, so
    /// what it built must be thrown away.
    fn load(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64, Error>;

    /// The newest `limit` records of a subject, newest first.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a record does not match its checksum.
    fn history(&self, subject: &str, limit: usize) -> Result<Vec<HistoryRecord>, Error>;

    /// Drops every day of history before `day`, and returns how many days went.
    ///
    /// # Errors
    /// Like [`Store::commit`]; a drop that was interrupted is finished at the next open.
    fn drop_history_before(&mut self, day: Day) -> Result<usize, Error>;

    /// What a batch may hold at most.
    fn limits(&self) -> Limits;

    /// Room on the disk below the store. Below the reserve, refuse calls that add, so that stops and
    /// reports still find room.
    ///
    /// # Errors
    /// [`Error::Io`] when the kernel does not answer.
    fn free_space(&self) -> Result<Space, Error>;

    /// A view of the store as of the last commit. It may move to another thread and be read there
    /// while the store goes on; it pins what it shows, so drop it when done.
    ///
    /// # Errors
    /// [`Error::Poisoned`] when a commit failed before.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error>;
}

/// A consistent view of a store: see [`Store::snapshot`].
pub trait Snapshot: Send {
    /// The turn this view shows.
    fn turn(&self) -> u64;

    /// Calls `each` with every row in order of keys, and verifies that none changed or is missing.
    ///
    /// # Errors
    /// [`Error::Damaged`], or what `each` returned.
    #[expect(
        clippy::type_complexity,
        reason = "an alias would hide the two arguments"
    )]
    fn rows(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), Error>) -> Result<(), Error>;

    /// Calls `each` with every record of history: days in order, in a day by subject, for a subject
    /// in the order they were written. Verified like the rows.
    ///
    /// # Errors
    /// [`Error::Damaged`], or what `each` returned.
    fn history(
        &self,
        each: &mut dyn FnMut(&HistoryRecord) -> Result<(), Error>,
    ) -> Result<(), Error>;
}

/// What one [`Batch`] may hold at most. The leader ends a turn when its merged rows reach these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows in a batch, puts and removals together.
    pub rows_max: usize,
    /// Records of history in a batch.
    pub history_max: usize,
    /// Bytes of all keys, values, subjects and records in a batch.
    pub bytes_max: usize,
    /// Bytes of one key or one subject.
    pub key_bytes_max: usize,
    /// Bytes of one value or one record; the store splits large ones by itself.
    pub value_bytes_max: usize,
}

/// Room on a disk, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// The disk's mount point and device, for messages.
    pub disk: String,
    /// Free for this process.
    pub free_bytes: u64,
    /// Below this, calls that add are to be refused.
    pub reserve_bytes: u64,
}

impl Space {
    /// Whether calls that add are to be refused.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.free_bytes < self.reserve_bytes
    }
}
