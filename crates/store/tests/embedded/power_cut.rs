//! A power cut: an ext4 image on a loop device is copied, without its page cache, while a store on it
//! commits. The copy holds only what the kernel had written down. Needs root and loop devices.

use std::fs::{self, File};
use std::process::Command;

use crate::full_disk::Mount;
use crate::workload::{Content, assert_same, batch, open};
use windlass_store::Store as _;

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn cut(cuts: u64) {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.ext4");
    File::create(&image).unwrap().set_len(256 << 20).unwrap();
    let image = image.to_str().unwrap();
    run("mkfs.ext4", &["-q", "-F", image]);
    let disk = Mount::new(&["-o", "loop", image]);
    let mut store = open(&disk.path("store")).unwrap();
    let mut turn = 0;
    for cut in 1..=cuts {
        for _ in 0..37 * cut {
            turn += 1;
            store.commit(&batch(turn)).unwrap();
        }
        // What lies in the page cache of the mounted file system never reached the image's file.
        let copy = dir.path().join("after-the-cut.ext4");
        run("cp", &["--sparse=always", image, copy.to_str().unwrap()]);
        let after = Mount::new(&["-o", "loop", copy.to_str().unwrap()]);
        let found = Content::of(&open(&after.path("store")).unwrap()).unwrap();
        assert_same(&found, &Content::after(turn), &format!("after cut {cut}"));
        drop(after);
        fs::remove_file(copy).unwrap();
    }
    drop(store);
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    cut(3);
}

#[test]
#[ignore = "takes minutes"]
fn many_power_cuts_lose_nothing_acknowledged() {
    cut(15);
}
