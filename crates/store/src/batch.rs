//! What a turn writes, and the checks made before anything is written.
//!
//! A batch that breaks a rule is refused as a whole with a [`Refusal`]; the store is then as before.

use std::collections::BTreeSet;

use crate::Limits;

/// One durable commit: the rows of a turn, its number and its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of the turn. It must be greater than that of the batch before; gaps are fine.
    pub turn: u64,
    /// Rows to put (`Some`) or remove (`None`), each key once.
    pub rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// What happened in the turn, in order.
    pub history: Vec<HistoryRecord>,
}

/// One thing that happened to a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRecord {
    /// When, in milliseconds since 1970 UTC. Chooses the day under which the record is filed.
    pub at_ms: i64,
    /// To whom, for example `task/<id>`: not empty and without a NUL byte.
    pub subject: String,
    /// What, encoded by the writer.
    pub value: Vec<u8>,
}

/// Why a batch is not accepted. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The turn is not newer than the last one.
    #[error("its turn is not newer than turn {last}, the last one in the store")]
    OldTurn {
        /// The last turn in the store.
        last: u64,
    },
    /// Two writes for one key. A backend may refuse them, and their order would matter.
    #[error("it writes the key {key} twice; merge the rows of a turn first")]
    KeyTwice {
        /// The key, escaped for people.
        key: String,
    },
    /// More rows or records than the limit.
    #[error("it holds {count} {what}, more than the {max} a batch may hold; split the turn")]
    TooMany {
        /// Rows or records of history.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// More bytes than the limit.
    #[error("its {what} takes {bytes} bytes, more than the {max} allowed")]
    TooLarge {
        /// What is too large, with its key or subject.
        what: String,
        /// Its size.
        bytes: usize,
        /// The largest size allowed.
        max: usize,
    },
    /// A subject that cannot be filed.
    #[error(
        "a record of its history has the subject {subject:?}, which is empty or has a NUL byte"
    )]
    Subject {
        /// The subject.
        subject: String,
    },
    /// More days of history than are kept.
    #[error(
        "its history reaches {count} {what}, more than {max}; drop old days, and check the clock"
    )]
    TooManyDays {
        /// New days, or days in all.
        what: &'static str,
        /// How many it would be.
        count: usize,
        /// How many it may be.
        max: usize,
    },
}

impl Batch {
    /// Checks the batch against the limits and the number of the last turn.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, limits: &Limits, last: u64) -> Result<(), Refusal> {
        if self.turn <= last {
            return Err(Refusal::OldTurn { last });
        }
        self.check_content(limits)
    }

    /// Checks everything but the turn.
    pub(crate) fn check_content(&self, limits: &Limits) -> Result<(), Refusal> {
        at_most("rows", self.rows.len(), limits.rows_max)?;
        at_most("records of history", self.history.len(), limits.history_max)?;
        let mut keys = BTreeSet::new();
        let mut bytes = 0_usize;
        for (key, value) in &self.rows {
            let value = value.as_deref().unwrap_or_default();
            check_entry("row", key, value, limits)?;
            bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
            if !keys.insert(key.as_slice()) {
                return Err(Refusal::KeyTwice { key: show(key) });
            }
        }
        for record in &self.history {
            if record.subject.is_empty() || record.subject.contains('\0') {
                return Err(Refusal::Subject {
                    subject: record.subject.clone(),
                });
            }
            check_entry(
                "record of history",
                record.subject.as_bytes(),
                &record.value,
                limits,
            )?;
            bytes = bytes
                .saturating_add(record.subject.len())
                .saturating_add(record.value.len());
        }
        fits("whole content".to_owned(), bytes, limits.bytes_max)
    }

    /// Bytes of all keys, values, subjects and records.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rows = self
            .rows
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        let history = self
            .history
            .iter()
            .map(|record| record.subject.len() + record.value.len());
        rows.chain(history).sum()
    }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), Refusal> {
    if count > max {
        return Err(Refusal::TooMany { what, count, max });
    }
    Ok(())
}

fn check_entry(what: &str, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), Refusal> {
    fits(
        format!("key {} of a {what}", show(key)),
        key.len(),
        limits.key_bytes_max,
    )?;
    fits(
        format!("{what} {}", show(key)),
        value.len(),
        limits.value_bytes_max,
    )
}

fn fits(what: String, bytes: usize, max: usize) -> Result<(), Refusal> {
    if bytes > max {
        return Err(Refusal::TooLarge { what, bytes, max });
    }
    Ok(())
}

/// A key as people can read it: printable ASCII as it is, the rest escaped, the end cut off.
pub(crate) fn show(key: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 80;
    let cut = &key[..key.len().min(SHOWN_BYTES_MAX)];
    let dots = if cut.len() < key.len() { "..." } else { "" };
    format!("\"{}{dots}\"", cut.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LIMITS;

    fn batch(rows: &[(&str, usize)], subjects: &[&str]) -> Batch {
        Batch {
            turn: 5,
            rows: rows
                .iter()
                .map(|(key, size)| (key.as_bytes().to_vec(), Some(vec![0; *size])))
                .collect(),
            history: subjects
                .iter()
                .map(|subject| HistoryRecord {
                    at_ms: 0,
                    subject: (*subject).to_owned(),
                    value: vec![1],
                })
                .collect(),
        }
    }

    #[test]
    fn refuses_what_breaks_a_rule() {
        let small = Limits {
            rows_max: 2,
            history_max: 1,
            bytes_max: 50,
            key_bytes_max: 4,
            value_bytes_max: 40,
        };
        let cases = [
            (batch(&[("a", 1), ("b", 1)], &["s"]), 4, None),
            (batch(&[], &[]), 5, Some("not newer than turn 5")),
            (
                batch(&[("a", 1), ("a", 1)], &[]),
                4,
                Some("the key \"a\" twice"),
            ),
            (
                batch(&[("a", 1), ("b", 1), ("c", 1)], &[]),
                4,
                Some("holds 3 rows, more than the 2"),
            ),
            (
                batch(&[], &["s", "t"]),
                4,
                Some("holds 2 records of history, more than the 1"),
            ),
            (
                batch(&[("abcde", 1)], &[]),
                4,
                Some("key \"abcde\" of a row takes 5 bytes"),
            ),
            (
                batch(&[("a", 41)], &[]),
                4,
                Some("row \"a\" takes 41 bytes, more than the 40"),
            ),
            (
                batch(&[("a", 30), ("b", 30)], &[]),
                4,
                Some("whole content takes 62 bytes"),
            ),
            (batch(&[], &[""]), 4, Some("subject \"\"")),
            (batch(&[], &["a\0b"]), 4, Some("NUL")),
        ];
        for (batch, last, expected) in cases {
            let got = batch
                .check(&small, last)
                .err()
                .map(|refusal| refusal.to_string());
            match expected {
                None => assert_eq!(got, None),
                Some(part) => assert!(
                    got.as_deref().is_some_and(|got| got.contains(part)),
                    "{got:?} lacks {part}"
                ),
            }
        }
    }

    #[test]
    fn the_limits_let_a_full_value_through() {
        assert_eq!(
            batch(&[("a", LIMITS.value_bytes_max)], &[]).check(&LIMITS, 0),
            Ok(())
        );
    }
}
