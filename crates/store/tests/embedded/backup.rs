//! Backups: made while the store is in use, restored whole or not at all.

use std::fs;
use std::path::Path;

use windlass_store::{Error, Store as _, backup};

use crate::workload::{ANY_ROOM, Content, assert_same, batch, fill, open};

const TURNS: u64 = 200;
const LABEL: &[u8] = b"who wrote it";

fn restore(bytes: &[u8], dir: &Path) -> Result<(backup::Summary, Vec<u8>), Error> {
    let mut label = Vec::new();
    let mut settle = |of_backup: &[u8]| {
        let there = fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some());
        assert!(!there, "the store is not there yet");
        label = of_backup.to_vec();
        Ok(())
    };
    let mut same = |_: &[u8], value| Ok(value);
    let summary = backup::restore(&mut &*bytes, dir, ANY_ROOM, &mut same, &mut settle)?;
    Ok((summary, label))
}

fn backup_of(turns: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    fill(&mut store, 1..=turns);
    let mut bytes = Vec::new();
    backup::write(&*store.snapshot().unwrap(), 42, LABEL, &mut bytes).unwrap();
    bytes
}

fn entries(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_restored_store_equals_the_one_that_was_backed_up_and_goes_on() {
    let bytes = backup_of(TURNS);
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("restored");
    let (summary, label) = restore(&bytes, &dir).unwrap();
    assert_eq!(label, LABEL);
    let expected = Content::after(TURNS);
    assert_eq!((summary.turn, summary.made_ms), (TURNS, 42));
    assert_eq!(
        (summary.rows, summary.records),
        (expected.rows.len() as u64, expected.history.len() as u64)
    );
    assert_eq!(entries(parent.path()), ["restored"]);

    let mut store = open(&dir).unwrap();
    assert_same(&Content::of(&store).unwrap(), &expected, "restored");
    fill(&mut store, TURNS + 1..=TURNS + 20);
    assert_same(
        &Content::of(&store).unwrap(),
        &Content::after(TURNS + 20),
        "gone on",
    );
    let memory = backup::restore_memory(&mut bytes.as_slice()).unwrap();
    assert_same(&Content::of(&memory).unwrap(), &expected, "in memory");
}

#[test]
fn a_backup_made_while_turns_are_committed_shows_one_turn() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    fill(&mut store, 1..=TURNS);
    let view = store.snapshot().unwrap();
    let writer = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        backup::write(&*view, 0, LABEL, &mut bytes).map(|_| bytes)
    });
    let mut turn = TURNS;
    while !writer.is_finished() || turn < TURNS + 300 {
        turn += 1;
        store.commit(&batch(turn)).unwrap();
        if turn == TURNS + 3 {
            store.drop_history_before(windlass_store::Day(2)).unwrap();
        }
    }
    let bytes = writer.join().unwrap().unwrap();
    let memory = backup::restore_memory(&mut bytes.as_slice()).unwrap();
    assert_same(
        &Content::of(&memory).unwrap(),
        &Content::after(TURNS),
        "the backup",
    );
}

#[test]
fn a_view_that_is_read_late_still_shows_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    fill(&mut store, 1..=100);
    let view = store.snapshot().unwrap();
    fill(&mut store, 101..=900);
    store.drop_history_before(windlass_store::Day(9)).unwrap();
    fill(&mut store, 901..=1_000);
    assert_same(
        &Content::of_view(&*view).unwrap(),
        &Content::after(100),
        "the late view",
    );
}

#[test]
fn an_empty_store_can_be_backed_up() {
    let bytes = backup_of(0);
    let dir = tempfile::tempdir().unwrap();
    restore(&bytes, dir.path()).unwrap();
    assert_same(
        &Content::of(&open(dir.path()).unwrap()).unwrap(),
        &Content::after(0),
        "restored",
    );
}

#[test]
fn rows_are_mended_on_their_way_in() {
    let bytes = backup_of(TURNS);
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("restored");
    let mut mend = |key: &[u8], mut value: Vec<u8>| {
        value.extend(key);
        Ok(value)
    };
    let mut refused = |_: &[u8]| {
        Err(Error::Backup {
            what: "no room for a name".into(),
        })
    };
    let restored = backup::restore(
        &mut bytes.as_slice(),
        &dir,
        ANY_ROOM,
        &mut mend,
        &mut refused,
    );
    assert!(
        matches!(restored, Err(Error::Backup { .. })),
        "{restored:?}"
    );
    assert!(
        !dir.exists(),
        "it is not there when it could not be settled"
    );
    let mut settle = |_: &[u8]| Ok(());
    backup::restore(
        &mut bytes.as_slice(),
        &dir,
        ANY_ROOM,
        &mut mend,
        &mut settle,
    )
    .unwrap();
    let mut expected = Content::after(TURNS);
    for (key, value) in &mut expected.rows {
        value.extend(key);
    }
    assert_same(
        &Content::of(&open(&dir).unwrap()).unwrap(),
        &expected,
        "mended",
    );
}

/// As release 0.1.0 wrote it: without a label.
#[test]
fn a_backup_of_the_first_version_is_read() {
    let mut bytes = backup_of(30);
    let end = bytes.len() - 8;
    let label = 36..36 + 1 + 4 + LABEL.len();
    bytes.truncate(end);
    bytes.drain(label);
    bytes[16] = 1;
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
    bytes.extend(checksum.to_le_bytes());
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("restored");
    let (summary, label) = restore(&bytes, &dir).unwrap();
    assert_eq!((summary.turn, label), (30, Vec::new()));
}

#[test]
fn a_broken_backup_leaves_nothing_behind() {
    let good = backup_of(30);
    let mut bad: Vec<Vec<u8>> = Vec::new();
    for cut in [
        0,
        1,
        15,
        20,
        35,
        good.len() / 2,
        good.len() - 9,
        good.len() - 1,
    ] {
        bad.push(good[..cut].to_vec());
    }
    for at in [
        0,
        17,
        22,
        30,
        36,
        41,
        good.len() / 3,
        good.len() / 2,
        good.len() - 20,
        good.len() - 1,
    ] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bad.push(bytes);
    }
    bad.push([good.as_slice(), &[0]].concat());
    let parent = tempfile::tempdir().unwrap();
    for (case, bytes) in bad.iter().enumerate() {
        let dir = parent.path().join("restored");
        let error = restore(bytes, &dir).expect_err(&format!("case {case}"));
        assert!(
            matches!(error, Error::Backup { .. } | Error::Format { .. }),
            "case {case}: {error}"
        );
        assert!(
            entries(parent.path()).is_empty(),
            "case {case} left {:?}",
            entries(parent.path())
        );
    }
}

#[test]
fn a_folder_with_something_in_it_is_not_restored_into() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("precious"), "x").unwrap();
    let error = restore(&backup_of(2), dir.path()).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
    assert_eq!(entries(dir.path()), ["precious"]);
}

#[test]
fn a_restore_leaves_the_disk_its_reserve() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("store");
    let options = windlass_store::embedded::Options {
        reserve_bytes: u64::MAX,
        ..ANY_ROOM
    };
    let mut same = |_: &[u8], value| Ok(value);
    let mut settle = |_: &[u8]| panic!("nothing is to be made ready");
    let bytes = backup_of(2);
    let error = backup::restore(&mut &*bytes, &dir, options, &mut same, &mut settle).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(entries(parent.path()).is_empty());
}
