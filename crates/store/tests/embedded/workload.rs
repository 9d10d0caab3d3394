//! Numbered batches that anybody can make again from their number, and whole contents to compare.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use windlass_store::embedded::Options;
use windlass_store::{Batch, Day, Embedded, Error, HistoryRecord, Memory, Snapshot, Store};

/// Turns between two days of history.
pub(crate) const TURNS_PER_DAY: u64 = 60;
const MS_PER_DAY: u64 = 86_400_000;

/// Room does not matter in tests that are not about it.
pub(crate) const ANY_ROOM: Options = Options {
    reserve_bytes: 0,
    floor_bytes: 0,
    ballast_bytes: 0,
};

pub(crate) fn open(dir: &Path) -> Result<Embedded, Error> {
    // Other tests start programs, and until such a child has become its program it holds a lock that
    // this process has just given back.
    for _ in 0..100 {
        match Embedded::open(dir, ANY_ROOM) {
            Err(Error::InUse { pid, .. }) if pid == Some(std::process::id()) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
    Embedded::open(dir, ANY_ROOM)
}

/// A small generator (splitmix64), so that a batch depends on its number alone.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn bytes(&mut self, size: u64) -> Vec<u8> {
        (0..size.div_ceil(8))
            .flat_map(|_| self.next().to_le_bytes())
            .take(size as usize)
            .collect()
    }
}

/// The batch of a turn: puts, overwrites and removals of small and large values, and history.
pub(crate) fn batch(turn: u64) -> Batch {
    let mut numbers = Numbers(turn);
    let mut rows = BTreeMap::new();
    for _ in 0..=numbers.below(16) {
        let key = format!("task/{:03}", numbers.below(400)).into_bytes();
        let value = match numbers.below(20) {
            0..4 => None,
            4 => Some(numbers.next()).map(|seed| Numbers(seed).bytes(9_000)),
            _ => {
                let size = numbers.below(2_000);
                Some(numbers.bytes(size))
            }
        };
        rows.insert(key, value);
    }
    let at_ms = (turn / TURNS_PER_DAY) * MS_PER_DAY + turn % TURNS_PER_DAY;
    let history = (0..numbers.below(4))
        .map(|index| HistoryRecord {
            at_ms: at_ms as i64,
            subject: format!("task/{:03}", numbers.below(40)),
            value: numbers.bytes(if index == 3 { 5_000 } else { 150 }),
        })
        .collect();
    Batch {
        turn,
        rows: rows.into_iter().collect(),
        history,
    }
}

pub(crate) fn fill(store: &mut dyn Store, turns: std::ops::RangeInclusive<u64>) {
    for turn in turns {
        store
            .commit(&batch(turn))
            .unwrap_or_else(|error| panic!("turn {turn}: {error}"));
    }
}

/// Everything a store holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) turn: u64,
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) history: Vec<HistoryRecord>,
}

impl Content {
    pub(crate) fn of_view(view: &dyn Snapshot) -> Result<Self, Error> {
        let (mut rows, mut history) = (BTreeMap::new(), Vec::new());
        view.rows(&mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            Ok(())
        })?;
        view.history(&mut |record| {
            history.push(record.clone());
            Ok(())
        })?;
        Ok(Self {
            turn: view.turn(),
            rows,
            history,
        })
    }

    /// Loads the store and reads it a second time through a view; both must agree.
    pub(crate) fn of(store: &dyn Store) -> Result<Self, Error> {
        let mut rows = BTreeMap::new();
        let turn = store.load(&mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
        })?;
        let content = Self::of_view(&*store.snapshot()?)?;
        assert_eq!((turn, rows), (content.turn, content.rows.clone()));
        Ok(content)
    }

    /// What the turns up to this one leave.
    pub(crate) fn after(turn: u64) -> Self {
        let mut memory = Memory::default();
        fill(&mut memory, 1..=turn);
        Self::of(&memory).expect("memory never fails")
    }

    pub(crate) fn without_history_before(mut self, day: Day) -> Self {
        self.history
            .retain(|record| Day::of_ms(record.at_ms) >= day);
        self
    }
}

/// Fails with a short message: the contents are too large to print.
pub(crate) fn assert_same(found: &Content, expected: &Content, when: &str) {
    assert_eq!(found.turn, expected.turn, "{when}: turn");
    let differs = |key: &&Vec<u8>| found.rows.get(*key) != expected.rows.get(*key);
    let keys: Vec<_> = found
        .rows
        .keys()
        .chain(expected.rows.keys())
        .filter(differs)
        .collect();
    assert!(keys.is_empty(), "{when}: rows differ at {keys:?}");
    assert_eq!(
        found.history.len(),
        expected.history.len(),
        "{when}: records of history"
    );
    assert!(found.history == expected.history, "{when}: history differs");
}
