//! Figures for people: run with `--release --ignored --nocapture speed`. Nothing is asserted about time.

use std::time::Instant;

use windlass_store::{Batch, Embedded, Store, embedded::Options};

use crate::workload::{Numbers, open};

fn rows(turn: u64, count: u64, bytes: u64, keys: u64) -> Batch {
    let mut numbers = Numbers(turn);
    let mut rows = std::collections::BTreeMap::new();
    while (rows.len() as u64) < count {
        rows.insert(
            format!("task/{:08}", numbers.below(keys)).into_bytes(),
            Some(numbers.bytes(bytes)),
        );
    }
    Batch {
        turn,
        rows: rows.into_iter().collect(),
        history: Vec::new(),
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    // Beside the sources rather than in /tmp, which may be a tmpfs.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("rss before any store: {} KiB", resident_kib());
    let mut store = Embedded::open(&dir.path().join("speed"), Options::default()).unwrap();
    println!("rss with an idle empty store: {} KiB", resident_kib());
    let mut turn = 0;
    for (count, commits) in [(1, 3_000), (100, 300), (1_000, 40)] {
        let batches: Vec<Batch> = (0..commits)
            .map(|n| rows(turn + n + 1, count, 500, 100_000))
            .collect();
        turn += commits;
        let begin = Instant::now();
        let mut times: Vec<_> = batches
            .iter()
            .map(|batch| {
                let begin = Instant::now();
                store.commit(batch).unwrap();
                begin.elapsed()
            })
            .collect();
        let all = begin.elapsed().as_secs_f64();
        times.sort();
        let at = |percent| times[times.len() * percent / 100];
        println!(
            "{count} rows of 500 B: p50 {:?}, p99 {:?}, {:.0} rows/s",
            at(50),
            at(99),
            (count * commits) as f64 / all
        );
    }
    drop(store);

    let path = dir.path().join("tasks");
    let mut store = open(&path).unwrap();
    for (turn, chunk) in (1..).zip((0..10_000_u64).collect::<Vec<_>>().chunks(100)) {
        let row = |n: &u64| {
            (
                format!("task/{n:08}").into_bytes(),
                Some(Numbers(*n).bytes(1_000)),
            )
        };
        store
            .commit(&Batch {
                turn,
                rows: chunk.iter().map(row).collect(),
                history: Vec::new(),
            })
            .unwrap();
    }
    // Like a kill: nothing of the store runs down.
    std::mem::forget(store);
    let copy = dir.path().join("killed");
    assert!(
        std::process::Command::new("cp")
            .args(["-r", "--sparse=always"])
            .arg(&path)
            .arg(&copy)
            .status()
            .unwrap()
            .success()
    );
    let begin = Instant::now();
    let store = open(&copy).unwrap();
    let opened = begin.elapsed();
    let mut count = 0;
    store.load(&mut |_, _| count += 1).unwrap();
    println!(
        "{count} rows of 1 KB after a kill: open {opened:?}, open and load {:?}",
        begin.elapsed()
    );
    println!("rss then: {} KiB", resident_kib());
}
