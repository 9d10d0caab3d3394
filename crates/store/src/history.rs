//! How history is filed: one keyspace a day, in it by subject, then by time.
//!
//! A record's key is `subject, NUL, time, turn, index, part`, numbers in big endian, so that the bytes
//! sort as the records do. Times before 1970 sort right because their sign bit is flipped.

use std::fmt;

use crate::HistoryRecord;

const MS_PER_DAY: i64 = 86_400_000;
const SUFFIX_BYTES: usize = 8 + 8 + 4;

/// A day in UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

impl Day {
    /// The day of a time in milliseconds since 1970 UTC.
    #[must_use]
    pub fn of_ms(at_ms: i64) -> Self {
        Self(at_ms.div_euclid(MS_PER_DAY))
    }

    /// The name of the day's keyspace.
    pub(crate) fn keyspace(self) -> String {
        format!("history-{}", self.0)
    }

    /// The day of a keyspace; `None` when it is not one of history.
    pub(crate) fn of_keyspace(name: &str) -> Option<Self> {
        name.strip_prefix("history-")?.parse().ok().map(Self)
    }

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        flip(self.0).to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(unflip(u64::from_be_bytes(bytes.try_into().ok()?))))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "day {} since 1970", self.0)
    }
}

/// The key of a record, without its part.
pub(crate) fn key(record: &HistoryRecord, turn: u64, index: u32) -> Vec<u8> {
    let mut key = prefix(&record.subject);
    key.extend_from_slice(&flip(record.at_ms).to_be_bytes());
    key.extend_from_slice(&turn.to_be_bytes());
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// What all keys of a subject begin with, and no other subject's.
pub(crate) fn prefix(subject: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(subject.len() + 1 + SUFFIX_BYTES + 2);
    prefix.extend_from_slice(subject.as_bytes());
    prefix.push(0);
    prefix
}

/// Subject and time from a key without its part; `None` when it is not one.
pub(crate) fn parse(key: &[u8]) -> Option<(&str, i64)> {
    let (subject, suffix) = key.split_at_checked(key.len().checked_sub(SUFFIX_BYTES)?)?;
    let subject = str::from_utf8(subject.strip_suffix(&[0])?).ok()?;
    Some((subject, unflip(u64::from_be_bytes(*suffix.first_chunk()?))))
}

fn flip(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

fn unflip(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_subject_and_time() {
        let record = |subject: &str, at_ms| HistoryRecord {
            at_ms,
            subject: subject.to_owned(),
            value: Vec::new(),
        };
        let keys = [
            key(&record("task/1", i64::MIN), 1, 0),
            key(&record("task/1", -1), 1, 0),
            key(&record("task/1", 5), 1, 0),
            key(&record("task/1", 5), 1, 1),
            key(&record("task/1", 5), 2, 0),
            key(&record("task/10", -9), 1, 0),
        ];
        assert!(keys.is_sorted());
        assert_eq!(parse(&keys[1]), Some(("task/1", -1)));
        assert!(!keys[5].starts_with(&prefix("task/1")));
        assert_eq!(parse(b"short"), None);
    }

    #[test]
    fn a_day_begins_at_midnight_before_1970_too() {
        for (at_ms, day) in [
            (0, 0),
            (MS_PER_DAY - 1, 0),
            (MS_PER_DAY, 1),
            (-1, -1),
            (-MS_PER_DAY - 1, -2),
        ] {
            assert_eq!(Day::of_ms(at_ms), Day(day));
            assert_eq!(Day::of_keyspace(&Day(day).keyspace()), Some(Day(day)));
            assert_eq!(Day::from_bytes(&Day(day).to_bytes()), Some(Day(day)));
        }
        assert_eq!(Day::of_keyspace("state"), None);
    }
}
