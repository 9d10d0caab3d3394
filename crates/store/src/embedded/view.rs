//! Reads a consistent view of the engine and verifies what it reads.

use std::path::PathBuf;

use fjall::{Keyspace, Readable as _};

use super::verdict::Verdict;
use crate::batch::show;
use crate::history::{self, Day};
use crate::limits::VALUE_BYTES_MAX;
use crate::total::{Total, TurnRow};
use crate::{Error, HistoryRecord, Snapshot, row};

/// First byte of the keys that the store needs for itself.
pub(super) const OWN: u8 = 0;
/// First byte of the head of a row.
pub(super) const HEAD: u8 = 1;
/// First byte of a further part of a row; its last two bytes number the part.
pub(super) const PART: u8 = 2;

/// The key of a head.
pub(super) fn head_key(key: &[u8]) -> Vec<u8> {
    [&[HEAD], key].concat()
}

/// The key of a further part, from 1. Two keys cannot collide: the length tells the row's key.
pub(super) fn part_key(key: &[u8], part: u16) -> Vec<u8> {
    [&[PART], key, &part.to_be_bytes()].concat()
}

/// The store as of one commit.
pub(super) struct View {
    pub(super) dir: PathBuf,
    pub(super) snapshot: fjall::Snapshot,
    pub(super) state: Keyspace,
    pub(super) days: Vec<(Day, Keyspace, Total)>,
    pub(super) turn: TurnRow,
}

impl Snapshot for View {
    fn turn(&self) -> u64 {
        self.turn.turn
    }

    fn rows(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut total = Total::default();
        let mut joined = Vec::new();
        for pair in self.snapshot.prefix(&self.state, [HEAD]) {
            let (stored, head) = pair
                .into_inner()
                .map_err(|error| self.unreadable("the rows", &error))?;
            let key = stored.get(1..).unwrap_or_default();
            joined.clear();
            let checksum = self.join(key, &head, &mut joined)?;
            total.add(checksum);
            each(key, &joined)?;
        }
        self.compare("rows", total, self.turn.rows)
    }

    fn history(
        &self,
        each: &mut dyn FnMut(&HistoryRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (day, keyspace, expected) in &self.days {
            let mut total = Total::default();
            let mut joiner = Joiner::default();
            for pair in self.snapshot.iter(keyspace) {
                let (key, bytes) = pair
                    .into_inner()
                    .map_err(|error| self.unreadable("the history", &error))?;
                let record = joiner
                    .push(&key, &bytes)
                    .map_err(|what| self.damaged(what))?;
                if let Some((record, checksum)) = record {
                    total.add(checksum);
                    each(&record)?;
                }
            }
            self.compare(&format!("records of history of {day}"), total, *expected)?;
        }
        Ok(())
    }
}

impl View {
    /// The newest records of a subject in one day, newest first.
    pub(super) fn newest(
        &self,
        keyspace: &Keyspace,
        subject: &str,
        limit: usize,
        found: &mut Vec<HistoryRecord>,
    ) -> Result<(), Error> {
        // Backwards, the parts of a record come last part first; they are joined at the head.
        let mut parts: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for pair in self
            .snapshot
            .prefix(keyspace, history::prefix(subject))
            .rev()
        {
            if found.len() >= limit {
                break;
            }
            let (key, bytes) = pair
                .into_inner()
                .map_err(|error| self.unreadable("the history", &error))?;
            parts.push((key.to_vec(), bytes.to_vec()));
            if !key.ends_with(&[0, 0]) {
                continue;
            }
            let mut joiner = Joiner::default();
            for (key, bytes) in parts.drain(..).rev() {
                if let Some((record, _)) = joiner
                    .push(&key, &bytes)
                    .map_err(|what| self.damaged(what))?
                {
                    found.push(record);
                }
            }
        }
        Ok(())
    }

    fn join(&self, key: &[u8], head: &[u8], joined: &mut Vec<u8>) -> Result<u64, Error> {
        let changed = || self.damaged(format!("row {} changed on disk", show(key)));
        let head = row::head(head).ok_or_else(changed)?;
        joined.extend_from_slice(head.first);
        for part in 1..=head.further {
            let bytes = self.snapshot.get(&self.state, part_key(key, part));
            let bytes = bytes
                .map_err(|error| self.unreadable("the rows", &error))?
                .ok_or_else(changed)?;
            joined.extend_from_slice(&bytes);
        }
        if !row::verify(key, joined, head.checksum) {
            return Err(changed());
        }
        Ok(head.checksum)
    }

    fn compare(&self, what: &str, found: Total, expected: Total) -> Result<(), Error> {
        if found == expected {
            return Ok(());
        }
        let Total { count, .. } = expected;
        if found.count == count {
            return Err(self.damaged(format!(
                "the {count} {what} are not the ones of turn {}",
                self.turn.turn
            )));
        }
        let turn = self.turn.turn;
        Err(self.damaged(format!(
            "it holds {} {what} where turn {turn} left {count}",
            found.count
        )))
    }

    fn damaged(&self, what: String) -> Error {
        Verdict::Damaged {
            what,
            acknowledged: self.turn.turn,
        }
        .error(&self.dir)
    }

    fn unreadable(&self, what: &str, error: &fjall::Error) -> Error {
        self.damaged(format!("{what} cannot be read: {error}"))
    }
}

/// Joins the parts of records, which come in order.
#[derive(Default)]
struct Joiner {
    key: Vec<u8>,
    value: Vec<u8>,
    checksum: u64,
    /// Parts that still have to come.
    left: u16,
}

impl Joiner {
    /// Takes the next part; gives the record and its checksum when it is whole.
    fn push(
        &mut self,
        stored: &[u8],
        bytes: &[u8],
    ) -> Result<Option<(HistoryRecord, u64)>, String> {
        let changed = || format!("record of history {} changed on disk", show(stored));
        let (key, part) = stored.split_last_chunk::<2>().ok_or_else(changed)?;
        if u16::from_be_bytes(*part) == 0 {
            let head = row::head(bytes).ok_or_else(changed)?;
            if self.left > 0 {
                return Err(changed());
            }
            *self = Self {
                key: key.to_vec(),
                value: head.first.to_vec(),
                checksum: head.checksum,
                left: head.further,
            };
        } else {
            let fits = self.value.len().saturating_add(bytes.len()) <= VALUE_BYTES_MAX;
            if self.left == 0 || self.key != key || !fits {
                return Err(changed());
            }
            self.value.extend_from_slice(bytes);
            self.left -= 1;
        }
        if self.left > 0 {
            return Ok(None);
        }
        if !row::verify(&self.key, &self.value, self.checksum) {
            return Err(changed());
        }
        let (subject, at_ms) = history::parse(&self.key).ok_or_else(changed)?;
        let record = HistoryRecord {
            at_ms,
            subject: subject.to_owned(),
            value: std::mem::take(&mut self.value),
        };
        Ok(Some((record, self.checksum)))
    }
}
