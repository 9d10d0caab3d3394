//! What every store promises, asked of the embedded one and of the one in memory.

use windlass_store::{
    Batch, Day, Embedded, Error, HistoryRecord, Memory, Store, batch::Refusal, limits,
};

use crate::workload::{Content, TURNS_PER_DAY, assert_same, batch, fill, open};

/// Runs a check against both stores.
fn both(check: impl Fn(&mut dyn Store)) {
    let dir = tempfile::tempdir().unwrap();
    check(&mut open(dir.path()).unwrap());
    check(&mut Memory::default());
}

fn row(turn: u64, key: &str, value: Option<&[u8]>) -> Batch {
    Batch {
        turn,
        rows: vec![(key.into(), value.map(<[u8]>::to_vec))],
        history: Vec::new(),
    }
}

#[test]
fn the_same_turns_leave_the_same_content_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    assert_eq!(
        store
            .load(&mut |_, _| panic!("a new store is empty"))
            .unwrap(),
        0
    );
    fill(&mut store, 1..=300);
    assert_same(
        &Content::of(&store).unwrap(),
        &Content::after(300),
        "before the restart",
    );
    drop(store);
    let mut store = open(dir.path()).unwrap();
    assert_same(
        &Content::of(&store).unwrap(),
        &Content::after(300),
        "after the restart",
    );
    fill(&mut store, 301..=310);
    assert_same(
        &Content::of(&store).unwrap(),
        &Content::after(310),
        "after more turns",
    );
    assert!(
        !dir.path().join("journals-before-start").exists(),
        "a sound start leaves no copy"
    );
}

#[test]
fn values_of_every_size_come_back_whole_and_shrink_again() {
    both(|store| {
        let sizes = [65_536, 0, limits::VALUE_BYTES_MAX, 3_500, 3_501, 7_001, 1];
        for (turn, size) in (1..).zip(sizes) {
            let value: Vec<u8> = (0..size).map(|at| (at % 253) as u8).collect();
            store.commit(&row(turn, "big", Some(&value))).unwrap();
            let content = Content::of(store).unwrap();
            assert_eq!(content.rows.len(), 1);
            assert!(content.rows[b"big".as_slice()] == value, "size {size}");
        }
        store.commit(&row(100, "big", None)).unwrap();
        store.commit(&row(101, "never there", None)).unwrap();
        assert!(Content::of(store).unwrap().rows.is_empty());
    });
}

#[test]
fn a_refused_batch_changes_nothing_and_the_store_goes_on() {
    both(|store| {
        fill(store, 1..=5);
        let twice = Batch {
            rows: [row(6, "a", None).rows, row(6, "a", None).rows].concat(),
            ..row(6, "a", None)
        };
        let many = Batch {
            turn: 6,
            rows: (0..=limits::BATCH_ROWS_MAX)
                .map(|n| (n.to_le_bytes().to_vec(), None))
                .collect(),
            history: Vec::new(),
        };
        let large = row(6, "a", Some(&vec![0; limits::VALUE_BYTES_MAX + 1]));
        let heavy = Batch {
            turn: 6,
            rows: (0..5_u8)
                .map(|n| (vec![n], Some(vec![n; limits::VALUE_BYTES_MAX])))
                .collect(),
            history: Vec::new(),
        };
        for bad in [row(5, "a", None), twice, many, large, heavy] {
            let error = store.commit(&bad).unwrap_err();
            assert!(
                matches!(error, Error::Batch { .. }) && !error.outcome_unknown(),
                "{error}"
            );
        }
        store.commit(&batch(6)).unwrap();
        assert_same(
            &Content::of(store).unwrap(),
            &Content::after(6),
            "after refusals",
        );
    });
}

#[test]
fn the_embedded_store_bounds_days() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    let record = |day: i64| HistoryRecord {
        at_ms: day * 86_400_000,
        subject: "s".to_owned(),
        value: vec![],
    };
    let days = Batch {
        turn: 1,
        rows: vec![],
        history: (0..5).map(record).collect(),
    };
    let error = store.commit(&days).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Batch {
                refusal: Refusal::TooManyDays { .. },
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(store.load(&mut |_, _| {}).unwrap(), 0);
}

#[test]
fn history_is_found_by_subject_newest_first_over_days() {
    both(|store| {
        fill(store, 1..=4 * TURNS_PER_DAY);
        let all = Content::after(4 * TURNS_PER_DAY).history;
        for subject in ["task/001", "task/017", "task/0", "nobody"] {
            let mut expected: Vec<_> = all
                .iter()
                .filter(|record| record.subject == subject)
                .cloned()
                .collect();
            expected.reverse();
            assert_eq!(store.history(subject, usize::MAX).unwrap(), expected);
            assert_eq!(
                store.history(subject, 2).unwrap(),
                expected[..expected.len().min(2)]
            );
            assert!(store.history(subject, 0).unwrap().is_empty());
        }
    });
}

#[test]
fn days_are_dropped_and_may_come_again() {
    both(|store| {
        fill(store, 1..=4 * TURNS_PER_DAY);
        assert_eq!(store.drop_history_before(Day(2)).unwrap(), 2);
        assert_eq!(store.drop_history_before(Day(2)).unwrap(), 0);
        let turn = 4 * TURNS_PER_DAY;
        let expected = Content::after(turn).without_history_before(Day(2));
        assert_same(&Content::of(store).unwrap(), &expected, "after the drop");
        let late = HistoryRecord {
            at_ms: 7,
            subject: "late".to_owned(),
            value: vec![1; 5_000],
        };
        store
            .commit(&Batch {
                turn: turn + 1,
                rows: vec![],
                history: vec![late.clone()],
            })
            .unwrap();
        assert_eq!(store.history("late", 9).unwrap(), [late]);
    });
}

#[test]
fn dropped_days_stay_away_after_a_restart_and_give_their_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    fill(&mut store, 1..=4 * TURNS_PER_DAY);
    let keyspaces = || {
        std::fs::read_dir(dir.path().join("engine/keyspaces"))
            .unwrap()
            .count()
    };
    let before = keyspaces();
    store.drop_history_before(Day(3)).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    let expected = Content::after(4 * TURNS_PER_DAY).without_history_before(Day(3));
    assert_same(
        &Content::of(&store).unwrap(),
        &expected,
        "after the restart",
    );
    assert_eq!(keyspaces(), before - 3);
}

#[test]
fn a_second_open_names_the_process_that_serves_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(
        matches!(error, Error::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    drop(store);
    open(dir.path()).unwrap();
}

#[test]
fn a_day_that_comes_again_after_a_drop_and_restarts_is_there() {
    let dir = tempfile::tempdir().unwrap();
    // Each round makes the newest keyspace anew after it was deleted, with restarts between.
    for (turn, round) in (1..=6).zip(0..) {
        let mut store = open(dir.path()).unwrap();
        store.drop_history_before(Day(1_000)).unwrap();
        drop(store);
        let mut store = open(dir.path()).unwrap();
        let record = HistoryRecord {
            at_ms: round,
            subject: "s".to_owned(),
            value: vec![],
        };
        store
            .commit(&Batch {
                turn,
                rows: vec![],
                history: vec![record.clone()],
            })
            .unwrap();
        drop(store);
        assert_eq!(
            open(dir.path()).unwrap().history("s", 9).unwrap(),
            [record],
            "round {round}"
        );
    }
}

#[test]
fn whoever_holds_a_store_is_named_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let holder = || windlass_store::embedded::holder(dir.path()).unwrap();
    assert_eq!(holder(), None, "there is no store yet");
    assert!(!Embedded::exists(dir.path()));
    let store = open(dir.path()).unwrap();
    assert!(store.is_new() && Embedded::exists(dir.path()));
    assert_eq!(holder().unwrap().pid, Some(std::process::id()));
    drop(store);
    assert_eq!(holder(), None, "its number stays in the file");
}
