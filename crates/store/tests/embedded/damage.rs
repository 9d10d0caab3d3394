//! Files that changed behind the store's back. Nothing acknowledged may be missing silently: the store
//! either holds exactly what was committed, or is refused, and stays refused.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use windlass_store::{Batch, Error, HistoryRecord, Store as _};

use crate::workload::{Content, Numbers, assert_same, fill, open};

const TURNS: u64 = 120;

/// What is done to a store, by name.
type Damage<'change, To> = (&'static str, &'change dyn Fn(&To));

/// A closed store of some turns.
fn closed_store(turns: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path()).unwrap(), 1..=turns);
    dir
}

fn files(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, wanted));
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn journal(dir: &Path) -> PathBuf {
    let journals = files(&dir.join("engine"), &|path| {
        path.extension().is_some_and(|name| name == "jnl")
    });
    assert_eq!(
        journals.len(),
        1,
        "the tests damage the one journal there is"
    );
    journals[0].clone()
}

/// Bytes of a journal in use; it is allocated ahead.
fn used(journal: &Path) -> u64 {
    let bytes = fs::read(journal).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(bytes, at)
        .unwrap();
}

fn flip(path: &Path, at: u64) {
    let mut byte = [0];
    fs::File::open(path)
        .unwrap()
        .read_exact_at(&mut byte, at)
        .unwrap();
    write_at(path, at, &[byte[0] ^ (1 << (at % 8))]);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let status = std::process::Command::new("cp")
        .args(["-r", "--sparse=always"])
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(status.unwrap().success());
}

fn read(dir: &Path) -> Result<Content, Error> {
    Content::of(&open(dir)?)
}

/// The store must be refused, with a message that helps, now and again.
fn assert_refused(dir: &Path, when: &str) -> Error {
    let first = read(dir).expect_err(when);
    let text = first.to_string();
    assert!(
        matches!(first, Error::Damaged { .. } | Error::Behind { .. }),
        "{when}: {text}"
    );
    assert!(text.contains("windlass restore"), "{when}: {text}");
    let second = read(dir).expect_err(when).to_string();
    assert_eq!(text, second, "{when}: the verdict must stay");
    first
}

/// Either refused or whole. Returns whether it was refused.
fn refused_or_whole(dir: &Path, expected: &Content, when: &str) -> bool {
    match read(dir) {
        Ok(found) => {
            assert_same(&found, expected, when);
            false
        }
        Err(error) => {
            assert!(
                matches!(error, Error::Damaged { .. } | Error::Behind { .. }),
                "{when}: {error}"
            );
            true
        }
    }
}

#[test]
fn an_unacknowledged_torn_tail_is_dropped_and_the_store_goes_on() {
    for cut in [1, 5, 40] {
        let dir = closed_store(TURNS);
        let watermark = fs::read(dir.path().join("watermark")).unwrap();
        fill(&mut open(dir.path()).unwrap(), TURNS + 1..=TURNS + 1);
        // As if the machine had died before the last commit was acknowledged.
        fs::write(dir.path().join("watermark"), watermark).unwrap();
        let journal = journal(dir.path());
        let end = used(&journal) - cut;
        OpenOptions::new()
            .write(true)
            .open(&journal)
            .unwrap()
            .set_len(end)
            .unwrap();
        assert_same(
            &read(dir.path()).unwrap(),
            &Content::after(TURNS),
            &format!("cut by {cut}"),
        );
        fill(&mut open(dir.path()).unwrap(), TURNS + 1..=TURNS + 2);
        assert_same(
            &read(dir.path()).unwrap(),
            &Content::after(TURNS + 2),
            "after going on",
        );
    }
}

#[test]
fn an_acknowledged_torn_tail_is_reported_with_both_turns_and_an_untouched_copy() {
    let dir = closed_store(TURNS);
    let journal = journal(dir.path());
    let end = used(&journal) - 3;
    OpenOptions::new()
        .write(true)
        .open(&journal)
        .unwrap()
        .set_len(end)
        .unwrap();
    let before = fs::read(&journal).unwrap();
    let error = assert_refused(dir.path(), "torn tail");
    let Error::Behind {
        store_turn,
        acknowledged,
        copy: Some(copy),
        ..
    } = error
    else {
        panic!("not behind with a copy: {error}");
    };
    assert_eq!((store_turn, acknowledged), (TURNS - 1, TURNS));
    assert!(
        fs::read(copy.join(journal.file_name().unwrap())).unwrap() == before,
        "the copy is untouched"
    );
}

#[test]
fn a_zeroed_page_in_the_journal_is_reported() {
    let whole = closed_store(TURNS);
    let pages = used(&journal(whole.path())) / 4096;
    for page in [1, pages / 3, pages / 2, pages - 2] {
        let dir = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), dir.path());
        write_at(&journal(dir.path()), page * 4096, &[0; 4096]);
        assert_refused(dir.path(), &format!("page {page} of {pages}"));
    }
}

#[test]
fn a_deleted_journal_engine_or_watermark_is_reported() {
    let whole = closed_store(TURNS);
    let damages: [Damage<'_, Path>; 4] = [
        ("journal", &|dir| fs::remove_file(journal(dir)).unwrap()),
        ("engine", &|dir| {
            fs::remove_dir_all(dir.join("engine")).unwrap()
        }),
        ("watermark", &|dir| {
            fs::remove_file(dir.join("watermark")).unwrap()
        }),
        ("half a watermark", &|dir| {
            fs::write(dir.join("watermark"), [1; 9]).unwrap()
        }),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), dir.path());
        damage(dir.path());
        assert_refused(dir.path(), what);
    }
}

#[test]
fn flipped_bits_in_the_journal_are_reported() {
    let whole = closed_store(TURNS);
    let expected = Content::after(TURNS);
    let end = used(&journal(whole.path()));
    let mut numbers = Numbers(3);
    let mut refused = 0;
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), dir.path());
        let at = numbers.below(end);
        flip(&journal(dir.path()), at);
        refused += u64::from(refused_or_whole(
            dir.path(),
            &expected,
            &format!("bit at {at}"),
        ));
    }
    assert!(
        refused >= 18,
        "only {refused} of 20 flips were found, and the rest did no harm"
    );
}

#[test]
fn flipped_bits_in_tables_are_reported() {
    let whole = tempfile::tempdir().unwrap();
    // Enough to fill a memtable several times; the flush runs beside the commits.
    let turns = 1_600;
    fill(&mut open(whole.path()).unwrap(), 1..=turns);
    let expected = Content::after(turns);
    let large = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() > 100_000);
    let tables = files(&whole.path().join("engine/keyspaces"), &large);
    assert!(!tables.is_empty(), "nothing was flushed");
    let mut numbers = Numbers(4);
    let mut refused = 0;
    for _ in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), dir.path());
        let table = &tables[numbers.below(tables.len() as u64) as usize];
        let table = dir.path().join(table.strip_prefix(whole.path()).unwrap());
        let at = numbers.below(fs::metadata(&table).unwrap().len());
        flip(&table, at);
        refused += u64::from(refused_or_whole(
            dir.path(),
            &expected,
            &format!("bit {at} of {}", table.display()),
        ));
    }
    assert!(
        refused >= 6,
        "only {refused} of 12 flips were found, and the rest did no harm"
    );
}

/// Changes the engine's rows with its own means, as if a journal had been lost while later ones were
/// whole: every checksum of the engine is right.
fn tamper(dir: &Path, change: impl Fn(&fjall::Database)) {
    let db = fjall::Database::builder(dir.join("engine"))
        .max_journaling_size(64 << 20)
        .open()
        .unwrap();
    change(&db);
    db.persist(fjall::PersistMode::SyncAll).unwrap();
}

fn keyspace(db: &fjall::Database, name: &str) -> fjall::Keyspace {
    db.keyspace(name, fjall::KeyspaceCreateOptions::default)
        .unwrap()
}

#[test]
fn rows_that_the_engine_lost_or_swapped_are_reported() {
    let whole = closed_store(TURNS);
    let first = |db: &fjall::Database, prefix: u8| {
        let pair = keyspace(db, "state")
            .prefix([prefix])
            .next()
            .unwrap()
            .into_inner()
            .unwrap();
        (pair.0.to_vec(), pair.1.to_vec())
    };
    let damages: [Damage<'_, fjall::Database>; 6] = [
        ("row removed", &|db| {
            keyspace(db, "state").remove(first(db, 1).0).unwrap()
        }),
        ("part removed", &|db| {
            keyspace(db, "state").remove(first(db, 2).0).unwrap()
        }),
        ("row under another key", &|db| {
            keyspace(db, "state")
                .insert([1, b'x'], first(db, 1).1)
                .unwrap()
        }),
        ("older turn row", &|db| {
            keyspace(db, "state").remove([0, b't']).unwrap()
        }),
        ("history removed", &|db| {
            let day = keyspace(db, "history-2");
            let key = day.iter().next().unwrap().key().unwrap();
            day.remove(key).unwrap();
        }),
        ("day removed", &|db| {
            db.delete_keyspace(keyspace(db, "history-2")).unwrap()
        }),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), dir.path());
        tamper(dir.path(), damage);
        assert_refused(dir.path(), what);
    }
}

#[test]
fn a_commit_never_builds_on_a_store_that_was_not_verified() {
    let dir = closed_store(TURNS);
    tamper(dir.path(), |db| {
        let state = keyspace(db, "state");
        let key = state.prefix([1]).next().unwrap().key().unwrap();
        state.remove(key).unwrap();
    });
    let mut store = open(dir.path()).unwrap();
    let error = store
        .commit(&Batch {
            turn: TURNS + 1,
            ..Batch::default()
        })
        .unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn another_format_is_refused_by_its_number_and_not_condemned() {
    let dir = closed_store(2);
    tamper(dir.path(), |db| {
        keyspace(db, "state")
            .insert([0, b'f'], 99_u32.to_le_bytes())
            .unwrap()
    });
    for _ in 0..2 {
        let error = read(dir.path()).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Format {
                    found: 99,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_keyspace_made_after_a_killed_deletion_stays() {
    let dir = closed_store(2);
    // A process that is killed right after it deleted the newest keyspace: the engine's journals do
    // not hold the numbers that this took.
    tamper(dir.path(), |db| {
        for _ in 0..5 {
            let day = keyspace(db, "history-900");
            db.delete_keyspace(day).unwrap();
        }
    });
    let record = HistoryRecord {
        at_ms: 900 * 86_400_000,
        subject: "s".to_owned(),
        value: vec![7],
    };
    let mut store = open(dir.path()).unwrap();
    store
        .commit(&Batch {
            turn: 3,
            rows: vec![],
            history: vec![record.clone()],
        })
        .unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.history("s", 9).unwrap(), [record]);
}
