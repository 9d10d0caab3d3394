//! Counts and sums that are part of every commit, so that a missing row is found whatever lost it.
//!
//! The engine replays its journals one by one and skips what it cannot read; a later journal may be
//! whole, so the number of the last turn alone proves nothing about the turns before it. A total of
//! all rows' checksums does: it is written with every turn and compared at every load.

use crate::row;

/// Number and checksums of a set of rows. Order does not matter, so it is kept up row by row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Total {
    pub(crate) fn add(&mut self, checksum: u64) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum);
    }

    pub(crate) fn remove(&mut self, checksum: u64) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum);
    }
}

/// The row that numbers the turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnRow {
    pub(crate) turn: u64,
    pub(crate) rows: Total,
}

/// What is known of a day of history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DayRow {
    pub(crate) records: Total,
    pub(crate) phase: Phase,
}

/// Where a day stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Records may still lie in a journal alone.
    #[default]
    Open,
    /// Everything lies in tables, whose absence the engine notices by itself.
    Sealed,
    /// Being dropped; the next open finishes it.
    Dropping,
}

impl TurnRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        seal(b"turn", &[self.turn, self.rows.count, self.rows.sum])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let [turn, count, sum] = unseal(b"turn", bytes)?;
        Some(Self {
            turn,
            rows: Total { count, sum },
        })
    }
}

impl DayRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let phase = match self.phase {
            Phase::Open => 0,
            Phase::Sealed => 1,
            Phase::Dropping => 2,
        };
        seal(b"day", &[self.records.count, self.records.sum, phase])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let [count, sum, phase] = unseal(b"day", bytes)?;
        let phase = match phase {
            0 => Phase::Open,
            1 => Phase::Sealed,
            2 => Phase::Dropping,
            _ => return None,
        };
        Some(Self {
            records: Total { count, sum },
            phase,
        })
    }
}

/// Numbers in little endian, then a checksum over a label and them.
fn seal(label: &[u8], numbers: &[u64]) -> Vec<u8> {
    let mut bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    bytes.extend_from_slice(&row::checksum(label, &bytes).to_le_bytes());
    bytes
}

fn unseal<const N: usize>(label: &[u8], bytes: &[u8]) -> Option<[u64; N]> {
    let (content, checksum) = bytes.split_last_chunk::<8>()?;
    if content.len() != N * 8 || row::checksum(label, content) != u64::from_le_bytes(*checksum) {
        return None;
    }
    let mut numbers = [0; N];
    for (number, chunk) in numbers.iter_mut().zip(content.chunks_exact(8)) {
        *number = u64::from_le_bytes(chunk.try_into().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_and_every_flip_is_found() {
        let turn = TurnRow {
            turn: 7,
            rows: Total {
                count: 3,
                sum: u64::MAX,
            },
        };
        let bytes = turn.encode();
        assert_eq!(TurnRow::decode(&bytes), Some(turn));
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(TurnRow::decode(&bad), None, "bit {at}");
        }
        for phase in [Phase::Open, Phase::Sealed, Phase::Dropping] {
            let day = DayRow {
                records: Total { count: 1, sum: 2 },
                phase,
            };
            assert_eq!(DayRow::decode(&day.encode()), Some(day));
            assert_eq!(TurnRow::decode(&day.encode()), None, "a day is not a turn");
        }
    }

    #[test]
    fn a_total_forgets_what_is_removed() {
        let mut total = Total::default();
        total.add(u64::MAX);
        total.add(9);
        total.remove(u64::MAX);
        assert_eq!(total, Total { count: 1, sum: 9 });
    }
}
