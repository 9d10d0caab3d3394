//! A disk that fills up: a small tmpfs, mounted by the test. Needs root.

use std::fs;
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
