//! Removal against trees that containers could make.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{IFlags, Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use windlass_tree::{remove, remove_at};

/// More than any stack or descriptor table holds, and far beyond the longest path.
const DEEP: usize = 20_000;

fn open(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).unwrap()
}

/// Nested folders, each with a file and a second folder beside the next.
fn dig(top: &Path, depth: usize) {
    fs::create_dir(top).unwrap();
    let mut at = open(top);
    for _ in 0..depth {
        for name in ["down", "beside"] {
            rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        rustix::fs::openat(&at, "beside/file", flags, Mode::RUSR).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        at = rustix::fs::openat(&at, "down", flags, Mode::empty()).unwrap();
    }
}

fn few_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(48),
            ..limit
        },
    )
    .unwrap();
}

#[test]
fn a_tree_of_any_depth_goes_with_few_descriptors() {
    few_descriptors();
    // In memory: a disk may take milliseconds for each folder.
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let top = place.path().join("top");
    dig(&top, DEEP);
    remove(&top).unwrap();
    assert!(!top.exists());
    remove(&top).unwrap();
    remove(&place.path().join("no such folder/top")).unwrap();
    dig(&top, 3);
    remove_at(open(place.path()), OsStr::new("top")).unwrap();
    assert!(!top.exists());
}

#[test]
fn wide_trees_and_names_that_look_like_ours_go() {
    let place = tempfile::tempdir().unwrap();
    let top = place.path().join("top");
    for at in 0..300 {
        fs::create_dir_all(top.join(format!("{at}/{at}/{at}"))).unwrap();
        fs::write(top.join(format!("{at}/{at}/{at}/file")), "x").unwrap();
        fs::write(top.join(format!("{}", 1_000 + at)), "x").unwrap();
    }
    remove(&top).unwrap();
    assert!(!top.exists());
}

#[test]
fn no_link_is_followed() {
    let place = tempfile::tempdir().unwrap();
    let (top, kept) = (place.path().join("top"), place.path().join("kept"));
    fs::create_dir_all(kept.join("folder")).unwrap();
    fs::create_dir_all(top.join("in")).unwrap();
    symlink(&kept, top.join("link")).unwrap();
    symlink(kept.join("folder"), top.join("in/link")).unwrap();
    remove(&top).unwrap();
    assert!(kept.join("folder").is_dir());
    symlink(&kept, &top).unwrap();
    remove(&top).unwrap();
    assert!(kept.is_dir() && !top.is_symlink());
}

#[test]
fn what_a_privileged_container_marked_goes_too() {
    let place = tempfile::tempdir().unwrap();
    let top = place.path().join("top");
    fs::create_dir_all(top.join("a/b/c")).unwrap();
    fs::write(top.join("a/b/file"), "x").unwrap();
    let mark = |path: &str| {
        let file = fs::File::open(top.join(path)).unwrap();
        let flags = rustix::fs::ioctl_getflags(&file)?;
        rustix::fs::ioctl_setflags(&file, flags | IFlags::IMMUTABLE)
    };
    for path in ["a/b/file", "a/b/c", "a/b", "a"] {
        if mark(path).is_err() {
            println!("skipped: the file system of the temporary folder has no such marks");
            return remove(&top).unwrap();
        }
    }
    remove(&top).unwrap();
    assert!(!top.exists());
}

#[test]
fn another_file_system_stays_and_is_told() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let place = tempfile::tempdir().unwrap();
    let top = place.path().join("top");
    let mounted = top.join("in/mounted");
    fs::create_dir_all(&mounted).unwrap();
    fs::create_dir_all(top.join("in/beside/deeper")).unwrap();
    mount("test", &mounted, "tmpfs", MountFlags::empty(), c"size=64k").unwrap();
    fs::write(mounted.join("file"), "x").unwrap();
    let error = remove(&top).unwrap_err().to_string();
    assert!(mounted.join("file").exists() && !top.join("in/beside").exists());
    unmount(&mounted, UnmountFlags::DETACH).unwrap();
    assert!(error.contains("\"mounted\" in it"), "{error}");
    remove(&top).unwrap();
    assert!(!top.exists());
}
