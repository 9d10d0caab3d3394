//! A process that commits is killed at a time nobody chose, again and again.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use windlass_store::{Day, Store as _};

use crate::workload::{Content, Numbers, TURNS_PER_DAY, assert_same, batch, open};

/// Tells the process that is to be killed where to commit.
const DIR: &str = "WINDLASS_STORE_TEST_DIR";

/// Days of history that the killed process keeps.
const DAYS_KEPT: i64 = 3;

/// The day before which nothing is kept once a turn is decided.
fn first_day(turn: u64) -> Day {
    Day((turn / TURNS_PER_DAY) as i64 - DAYS_KEPT)
}

#[test]
#[ignore = "the process that `killed_writers_lose_nothing` starts and kills"]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let acknowledged = std::fs::File::create(dir.join("acknowledged")).unwrap();
    let mut store = open(&dir.join("store")).unwrap();
    let last = store.load(&mut |_, _| {}).unwrap();
    for turn in last + 1.. {
        store.drop_history_before(first_day(turn)).unwrap();
        store.commit(&batch(turn)).unwrap();
        acknowledged.write_all_at(&turn.to_le_bytes(), 0).unwrap();
    }
}

/// Kills a writer `kills` times and checks the content each time. Returns the last turn.
fn kill_in_a_loop(kills: u64, seed: u64) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let mut numbers = Numbers(seed);
    let mut turn = 0;
    let mut model = windlass_store::Memory::default();
    let mut effective = 0;
    for kill in 1..=kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::writer", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(15 + numbers.below(300)));
        child.kill().unwrap();
        assert!(
            child.wait().unwrap().code().is_none(),
            "the writer ended by itself before kill {kill}"
        );

        let mut bytes = [0; 8];
        let read = std::fs::File::open(dir.path().join("acknowledged"))
            .and_then(|file| file.read_exact_at(&mut bytes, 0));
        let acknowledged = if read.is_ok() {
            u64::from_le_bytes(bytes)
        } else {
            turn
        };
        effective += u64::from(acknowledged > turn);
        let store = open(&dir.path().join("store"))
            .unwrap_or_else(|error| panic!("after kill {kill}: {error}"));
        let found = Content::of(&store).unwrap();
        // The turn in flight may be there though nobody was told.
        assert!(
            (acknowledged..=acknowledged + 1).contains(&found.turn),
            "after kill {kill}: turn {} was acknowledged, {} found",
            acknowledged,
            found.turn
        );
        for turn in turn + 1..=found.turn {
            model.commit(&batch(turn)).unwrap();
        }
        turn = found.turn;
        // The drop for the next turn may have happened before its commit.
        let kept = first_day(turn + 1);
        model.drop_history_before(first_day(turn)).unwrap();
        let expected = Content::of(&model).unwrap().without_history_before(kept);
        assert_same(
            &found.without_history_before(kept),
            &expected,
            &format!("after kill {kill}"),
        );
        if kill % 50 == 0 || kill == kills {
            println!("{kill} kills, {effective} after a new acknowledgement, turn {turn}");
        }
    }
    assert!(
        effective > 0,
        "no writer committed anything before it was killed"
    );
    turn
}

#[test]
fn killed_writers_lose_nothing() {
    assert!(kill_in_a_loop(45, 1) > 0);
}

#[test]
#[ignore = "takes minutes"]
fn killed_writers_lose_nothing_for_long() {
    assert!(kill_in_a_loop(600, 2) > 0);
}

#[test]
#[ignore = "the process that `a_drop_cut_short_is_finished` starts and kills"]
fn dropper() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let mut store = open(&Path::new(&dir).join("store")).unwrap();
    let last = store.load(&mut |_, _| {}).unwrap();
    for turn in last + 1.. {
        let at_ms = (turn % 3) as i64 * 86_400_000;
        let record = windlass_store::HistoryRecord {
            at_ms,
            subject: "s".to_owned(),
            value: turn.to_le_bytes().to_vec(),
        };
        store
            .commit(&windlass_store::Batch {
                turn,
                rows: vec![],
                history: vec![record],
            })
            .unwrap();
        store.drop_history_before(Day(3)).unwrap();
    }
}

/// Keyspaces are made and deleted at every turn, so that most kills strike there.
#[test]
fn a_drop_cut_short_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let mut numbers = Numbers(5);
    let mut last = 0;
    for kill in 1..=15 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::dropper", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60 + numbers.below(200)));
        child.kill().unwrap();
        assert!(
            child.wait().unwrap().code().is_none(),
            "the writer ended by itself before kill {kill}"
        );
        let store = open(&dir.path().join("store"))
            .unwrap_or_else(|error| panic!("after kill {kill}: {error}"));
        let content = Content::of(&store).unwrap();
        assert!(
            content.turn >= last && content.history.len() <= 1,
            "after kill {kill}"
        );
        last = content.turn;
    }
    assert!(
        last > 0,
        "no writer committed anything before it was killed"
    );
}
