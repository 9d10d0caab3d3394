//! A disk that fills up: a small tmpfs, mounted by the test. Needs root.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use windlass_store::embedded::Options;
use windlass_store::{Embedded, Error, Store as _};

use crate::workload::{ANY_ROOM, Content, assert_same, batch, fill, open};

/// A mounted file system that goes away with the test.
pub(crate) struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(arguments)
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(status.success(), "mounting needs root");
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.dir.path()).status());
    }
}

#[test]
fn below_the_floor_commits_are_refused_and_go_on_when_there_is_room() {
    let disk = Mount::new(&["-t", "tmpfs", "-o", "size=48m", "tmpfs"]);
    let options = Options {
        reserve_bytes: 30 << 20,
        floor_bytes: 16 << 20,
        ballast_bytes: 0,
    };
    let mut store = Embedded::open(&disk.path("store"), options).unwrap();
    fill(&mut store, 1..=20);
    assert!(!store.free_space().unwrap().is_low());
    fs::write(disk.path("ballast"), vec![1; 36 << 20]).unwrap();
    let space = store.free_space().unwrap();
    assert!(space.is_low() && space.disk.contains("tmpfs"), "{space:?}");
    for _ in 0..3 {
        let error = store.commit(&batch(21)).unwrap_err();
        assert!(
            matches!(error, Error::Full { .. }) && !error.outcome_unknown(),
            "{error}"
        );
    }
    fs::remove_file(disk.path("ballast")).unwrap();
    fill(&mut store, 21..=40);
    assert_same(
        &Content::of(&store).unwrap(),
        &Content::after(40),
        "after room was made",
    );
}

/// To the last byte, as a program that runs wild does it.
fn fill_up(disk: &Mount) {
    let mut ballast = fs::File::create(disk.path("wild")).unwrap();
    while ballast.write_all(&[1; 64 << 10]).is_ok() {}
}

#[test]
fn room_set_aside_lets_commits_go_on_when_the_disk_is_full() {
    let disk = Mount::new(&["-t", "tmpfs", "-o", "size=64m", "tmpfs"]);
    let dir = disk.path("store");
    let options = Options {
        reserve_bytes: 4 << 20,
        floor_bytes: 8 << 20,
        ballast_bytes: 24 << 20,
    };
    let mut store = Embedded::open(&dir, options).unwrap();
    fill(&mut store, 1..=20);
    fill_up(&disk);
    assert_eq!(store.free_space().unwrap().free_bytes, 0);
    fill(&mut store, 21..=40);
    assert!(store.free_space().unwrap().free_bytes < 24 << 20);
    // What is given up is not taken for granted again before there is plenty.
    fs::remove_file(disk.path("wild")).unwrap();
    fill(&mut store, 41..=41);
    let free = store.free_space().unwrap().free_bytes;
    assert!(free < 40 << 20, "{free} are free: nothing is set aside");

    // The next start finds a full disk, and serves.
    drop(store);
    fill_up(&disk);
    let mut store = Embedded::open(&dir, options).unwrap();
    fill(&mut store, 42..=42);
    // What was given up once is used up too: nothing is written, and nothing breaks.
    drop(store);
    fill_up(&disk);
    let error = match Embedded::open(&dir, options) {
        Ok(mut store) => store.commit(&batch(43)).unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(error.to_string().contains("tmpfs"), "{error}");
    fs::remove_file(disk.path("wild")).unwrap();
    let mut store = Embedded::open(&dir, options).unwrap();
    fill(&mut store, 43..=60);
    assert_same(
        &Content::of(&store).unwrap(),
        &Content::after(60),
        "after a full disk",
    );
}

#[test]
fn a_disk_that_is_really_full_loses_nothing_acknowledged() {
    let disk = Mount::new(&["-t", "tmpfs", "-o", "size=16m", "tmpfs"]);
    let dir = disk.path("store");
    let mut store = Embedded::open(&dir, ANY_ROOM).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match store.commit(&batch(acknowledged + 1)) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 100_000, "the disk never filled");
    };
    assert!(error.outcome_unknown(), "{error}");
    let again = store.commit(&batch(acknowledged + 2)).unwrap_err();
    assert!(matches!(again, Error::Poisoned { .. }), "{again}");
    drop(store);
    let mut store = match open(&dir) {
        Ok(store) => store,
        // No room even to begin a start: never condemned, and fine once there is room.
        Err(error) => {
            assert!(
                !matches!(error, Error::Damaged { .. } | Error::Behind { .. }),
                "{error}"
            );
            grow(&disk);
            open(&dir).unwrap()
        }
    };
    let found = Content::of(&store).unwrap();
    assert!((acknowledged..=acknowledged + 1).contains(&found.turn));
    let turn = found.turn;
    assert_same(&found, &Content::after(turn), "reopened");
    grow(&disk);
    if store.commit(&batch(turn + 1)).is_err() {
        drop(store);
        store = open(&dir).unwrap();
        fill(&mut store, turn + 1..=turn + 1);
    }
    assert_same(
        &Content::of(&store).unwrap(),
        &Content::after(turn + 1),
        "gone on",
    );
}

fn grow(disk: &Mount) {
    let status = Command::new("mount")
        .args(["-o", "remount,size=128m"])
        .arg(disk.path(""))
        .status()
        .unwrap();
    assert!(status.success());
}
