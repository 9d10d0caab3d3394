//! Names, pins, removal, and what a crash leaves behind.

use windlass_image::{Error, LoadOptions, Store};

use crate::build::*;

fn layer(content: &str) -> Vec<u8> {
    Tar::default().file("x", content).end()
}

#[test]
fn an_image_is_found_by_all_its_names() {
    let place = Place::new();
    let loaded = load(
        &place.store,
        &oci_archive("docker.io/library/nginx:latest", &[layer("1")]),
    )
    .unwrap();
    let digest = loaded[0].digest;
    for text in [
        "nginx",
        "docker.io/library/nginx:latest",
        &format!("nginx@{digest}"),
    ] {
        let image = place.store.resolve(&name(text)).expect(text);
        assert_eq!(image.manifest_digest, digest);
        assert_eq!(image.config.cmd, ["run"]);
        assert_eq!(image.layers.len(), 1);
    }
    for text in ["nginx:1", "other", &format!("other@{digest}")] {
        assert!(place.store.resolve(&name(text)).is_none(), "{text}");
    }
}

#[test]
fn a_name_is_moved_only_when_asked() {
    let place = Place::new();
    load(&place.store, &docker_archive("t:1", &[layer("1")])).unwrap();
    let before = place.store.resolve(&name("t:1")).unwrap();
    let other = docker_archive("t:1", &[layer("2")]);
    let error = load(&place.store, &other).unwrap_err();
    assert!(matches!(error, Error::TagExists { .. }), "{error:?}");
    assert_eq!(
        place.store.resolve(&name("t:1")).unwrap().manifest_digest,
        before.manifest_digest
    );
    // The same image again is no move.
    load(&place.store, &docker_archive("t:1", &[layer("1")])).unwrap();

    let pin = place.store.pin(before.manifest_digest, "task/1").unwrap();
    let options = LoadOptions {
        replace: true,
        name: None,
    };
    place
        .store
        .load_archive(&other[..], &options, &|_| {})
        .unwrap();
    let after = place.store.resolve(&name("t:1")).unwrap();
    assert_ne!(after.manifest_digest, before.manifest_digest);
    // A deployment that goes on with the old digest still finds it.
    let old = name(&format!("t@{}", before.manifest_digest));
    place.store.gc().unwrap();
    assert!(
        place.store.resolve(&old).unwrap().layers[0]
            .join("x")
            .exists()
    );
    let unnamed: Vec<_> = place
        .store
        .list()
        .into_iter()
        .filter(|l| l.reference.is_none())
        .collect();
    assert_eq!(unnamed[0].holders, ["task/1"]);
    drop(pin);
    assert_eq!(place.store.gc().unwrap().images, 1);
    assert!(place.store.resolve(&old).is_none() && !before.layers[0].exists());
    assert!(after.layers[0].exists());
}

#[test]
fn removal_spares_what_is_used() {
    let place = Place::new();
    load(
        &place.store,
        &docker_archive("a:1", &[layer("1"), layer("a")]),
    )
    .unwrap();
    load(
        &place.store,
        &docker_archive("b:1", &[layer("1"), layer("b")]),
    )
    .unwrap();
    let (a, b) = (name("a:1"), name("b:1"));
    let image = place.store.resolve(&a).unwrap();
    assert_eq!(
        image.layers[1],
        place.store.resolve(&b).unwrap().layers[1],
        "shared"
    );
    let pin = place
        .store
        .pin(image.manifest_digest, "arn:aws:ecs:x:task/1")
        .unwrap();
    let error = place.store.remove("a:1").unwrap_err();
    assert!(
        error.to_string().contains("arn:aws:ecs:x:task/1"),
        "{error}"
    );
    drop(pin);
    place.store.remove("a:1").unwrap();
    assert!(place.store.resolve(&a).is_none());
    assert!(!image.layers[0].exists() && image.layers[1].exists());
    assert!(matches!(place.store.remove("a:1"), Err(Error::NotFound(_))));
    place.store.remove("b:1").unwrap();
    place.assert_empty("after the last one");
    assert!(place.store.pin(image.manifest_digest, "x").is_err());
}

/// Unused is what has no name and no pin. Before the first collection
/// pins are not complete, so that a removal takes nothing else along.
#[test]
fn removals_collect_what_nothing_uses() {
    let place = Place::new();
    let replace = LoadOptions {
        replace: true,
        name: None,
    };
    let moved = |content: &str| {
        let archive = docker_archive("t:1", &[layer(content)]);
        place
            .store
            .load_archive(&archive[..], &replace, &|_| {})
            .unwrap();
        place.store.resolve(&name("t:1")).unwrap().layers[0].clone()
    };
    let other = || load(&place.store, &docker_archive("o:1", &[layer("o")])).unwrap();
    let first = moved("1");
    moved("2");
    other();
    place.store.remove("o:1").unwrap();
    assert!(first.exists());
    let partial = place.folder.path().join("store/partial");
    let (old, new) = (partial.join("0".repeat(64)), partial.join("1".repeat(64)));
    for path in [&old, &new] {
        std::fs::write(path, "cut").unwrap();
    }
    let day = std::time::Duration::from_secs(25 * 60 * 60);
    let file = std::fs::File::options().write(true).open(&old).unwrap();
    file.set_modified(std::time::SystemTime::now() - day)
        .unwrap();
    assert_eq!(place.store.gc().unwrap().images, 1);
    assert!(!first.exists() && !old.exists() && new.exists());
    let second = place.store.resolve(&name("t:1")).unwrap().layers[0].clone();
    moved("3");
    other();
    assert!(second.exists());
    place.store.remove("o:1").unwrap();
    assert!(!second.exists());
}

#[test]
fn what_a_crash_leaves_is_removed() {
    let place = Place::new();
    load(&place.store, &docker_archive("a:1", &[layer("1")])).unwrap();
    let before = place.store.resolve(&name("a:1")).unwrap();
    let root = place.folder.path().join("store");
    assert!(matches!(Store::open(&root), Err(Error::StoreInUse(_))));
    let Place { folder, store } = place;
    drop(store);
    std::fs::create_dir_all(root.join("layers/77/half/done")).unwrap();
    std::fs::write(root.join("blobs").join("0".repeat(64)), "cut").unwrap();
    std::fs::write(root.join("tmp/9"), "cut").unwrap();
    let store = reopen(&root);
    let after = store.resolve(&name("a:1")).unwrap();
    assert_eq!((after.layers, after.config), (before.layers, before.config));
    assert!(!root.join("layers/77").exists());
    assert_eq!(names(&root.join("blobs")).len(), 3);
    assert!(names(&root.join("tmp")).is_empty());
    // A later format is not touched.
    drop(store);
    std::fs::write(root.join("format"), "2\n").unwrap();
    assert!(matches!(Store::open(&root), Err(Error::StoreFormat { .. })));
    drop(folder);
}

/// Opens a store that was closed. A test beside this one starts a program: for a moment between fork
/// and exec its copy of this process holds the lock, too.
fn reopen(root: &std::path::Path) -> Store {
    loop {
        match Store::open(root) {
            Err(Error::StoreInUse(_)) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// Something that cannot be removed takes room, and nothing else.
#[test]
fn leftovers_that_stay_do_not_keep_the_store_shut() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let Place { folder, store } = Place::new();
    drop(store);
    let root = folder.path().join("store");
    let left = ["layers/0/in", "tmp/0/in"].map(|path| root.join(path));
    for path in &left {
        std::fs::create_dir_all(path).unwrap();
        mount("test", path, "tmpfs", MountFlags::empty(), c"size=64k").unwrap();
    }
    let store = reopen(&root);
    load(&store, &docker_archive("a:1", &[layer("1")])).unwrap();
    let image = store.resolve(&name("a:1")).unwrap();
    assert!(image.layers[0].join("x").exists());
    drop(store);
    for path in &left {
        unmount(path, UnmountFlags::DETACH).unwrap();
    }
    let store = reopen(&root);
    assert!(left.iter().all(|path| !path.exists()));
    assert!(store.resolve(&name("a:1")).is_some());
}

/// The process is killed at a random moment of loading; afterwards each image is whole or absent.
#[test]
fn killed_while_loading() {
    if let Ok(root) = std::env::var("WINDLASS_TEST_KILLED_STORE") {
        let store = Store::open(root.as_ref()).unwrap();
        for round in 0.. {
            let layers: Vec<_> = (0..3)
                .map(|i| layer(&format!("{round} {i}").repeat(99)))
                .collect();
            load(&store, &docker_archive(&format!("a:{round}"), &layers)).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for kill in 0..12u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::killed_while_loading", "--nocapture"])
            .env("WINDLASS_TEST_KILLED_STORE", folder.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + kill * 13));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(folder.path()).unwrap();
        // Killed before its name was written, an image is whole and has no name.
        for reference in store
            .list()
            .into_iter()
            .filter_map(|listed| listed.reference)
        {
            let image = store.resolve(&reference).expect("a listed image is whole");
            let round = reference.tag().unwrap();
            for (at, layer) in image.layers.iter().rev().enumerate() {
                let content = std::fs::read_to_string(layer.join("x")).unwrap();
                assert_eq!(content, format!("{round} {at}").repeat(99));
            }
            store.remove(&reference.to_string()).unwrap();
        }
        store.gc().unwrap();
        for left in ["layers", "tmp", "images", "names"] {
            assert!(names(&folder.path().join(left)).is_empty(), "{left}");
        }
    }
}

#[test]
fn a_folder_becomes_an_image() {
    let place = Place::new();
    let root = place.folder.path().join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::write(root.join("bin/run"), "hello").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
    let reference = name("own/base:1");
    let options = LoadOptions::default();
    place
        .store
        .import_rootfs(&reference, &root, &options, &|_| {})
        .unwrap();
    let image = place.store.resolve(&reference).unwrap();
    assert_eq!(
        std::fs::read_to_string(image.layers[0].join("bin/run")).unwrap(),
        "hello"
    );
    assert!(image.layers[0].join("link").is_symlink());
}

#[test]
fn loads_at_once_share_layers() {
    let place = Place::new();
    let archives: Vec<_> = (0..6)
        .map(|i| {
            docker_archive(
                &format!("n{i}:1"),
                &[layer("base"), layer(&format!("{}", i % 2))],
            )
        })
        .collect();
    std::thread::scope(|scope| {
        for archive in &archives {
            scope.spawn(|| load(&place.store, archive).unwrap());
        }
        // The collector at work meanwhile takes nothing that is being loaded.
        scope.spawn(|| {
            for _ in 0..50 {
                place.store.gc().unwrap();
            }
        });
    });
    assert_eq!(names(&place.folder.path().join("store/layers")).len(), 3);
    for i in 0..6 {
        place.store.remove(&format!("n{i}:1")).unwrap();
    }
    place.assert_empty("all removed");
}

/// A tag is given to an image by its name, its id, or the first digits of it.
#[test]
fn further_names() {
    let place = Place::new();
    load(&place.store, &docker_archive("a:1", &[layer("1")])).unwrap();
    let digest = place.store.resolve(&name("a:1")).unwrap().manifest_digest;
    let new = |text: &str| text.parse().unwrap();
    for (image, further) in [
        ("a:1", "b:1"),
        (&digest.to_string(), "c"),
        (&digest.hex()[..8], "localhost:5000/d:2"),
        (&format!("a@{digest}"), "e:1"),
    ] {
        let tagged = place.store.tag(image, &new(further)).unwrap();
        assert_eq!(tagged.reference, name(further));
        let found = place.store.resolve(&name(further)).unwrap();
        assert_eq!(found.manifest_digest, digest, "{further}");
    }
    assert_eq!(place.store.list().len(), 5);
    // A tag is moved, as when an image of its name is loaded.
    load(&place.store, &docker_archive("other:1", &[layer("2")])).unwrap();
    place.store.tag("other:1", &new("b:1")).unwrap();
    let moved = place.store.resolve(&name("b:1")).unwrap();
    assert_ne!(moved.manifest_digest, digest);
    for (image, is) in [
        ("none", "not"),
        ("abc", "short"),
        ("UPPER", "name"),
        ("dead", "no"),
    ] {
        assert!(place.store.tag(image, &new("x:1")).is_err(), "{is}");
    }
    let error = place.store.remove(&digest.to_string()).unwrap_err();
    assert!(matches!(error, Error::SeveralNames { .. }), "{error:?}");
    // Names outlive the process.
    let Place { folder, store } = place;
    drop(store);
    let store = reopen(&folder.path().join("store"));
    assert_eq!(store.resolve(&name("c")).unwrap().manifest_digest, digest);
}

/// What has no name is called by its id, until it gets one; what is shown removes it.
#[test]
fn an_image_without_a_name_has_its_id() {
    let place = Place::new();
    let nameless = |content: &str| {
        let archive = docker_archive("x:1", &[layer(content)]);
        let at = archive.windows(7).position(|w| w == b"[\"x:1\"]").unwrap();
        let mut archive = archive;
        archive[at..at + 7].copy_from_slice(b"[     ]");
        load(&place.store, &archive).unwrap().remove(0)
    };
    let (one, two) = (nameless("1"), nameless("2"));
    let listed = |place: &Place| {
        let lines = place.store.list().into_iter();
        let mut names: Vec<String> = lines.map(|l| l.reference.unwrap().familiar()).collect();
        names.sort();
        names
    };
    let mut both = vec![one.digest.to_string(), two.digest.to_string()];
    both.sort();
    assert_eq!(listed(&place), both);
    assert_eq!(
        place.store.resolve(&one.reference).unwrap().manifest_digest,
        one.digest
    );
    place.store.gc().unwrap();
    assert_eq!(listed(&place), both, "it does not go by itself");
    let name = "web:1".parse().unwrap();
    place.store.tag(&one.digest.to_string(), &name).unwrap();
    place.store.remove(&two.digest.hex()[..12]).unwrap();
    assert_eq!(listed(&place), ["web:1"]);
    assert!(place.store.resolve(&one.reference).is_some());
    place.store.remove("web:1").unwrap();
    place.assert_empty("all removed");
}

/// A prune takes what nobody named and nothing uses, or whatever nothing uses.
#[test]
fn prunes_and_room() {
    let place = Place::new();
    for (text, content) in [("a:1", "1"), ("b:1", "2"), ("c:1", "3")] {
        load(
            &place.store,
            &docker_archive(text, &[layer("base"), layer(content)]),
        )
        .unwrap();
    }
    assert!(matches!(place.store.prune(true), Err(Error::NotSettled)));
    place.store.gc().unwrap();
    let digest = place.store.resolve(&name("a:1")).unwrap().manifest_digest;
    let pin = place.store.pin(digest, "task/1").unwrap();
    let partial = place.folder.path().join("store/partial");
    std::fs::write(partial.join("1".repeat(64)), "cut").unwrap();
    let usage = place.store.usage().unwrap();
    assert_eq!((usage.images.count, usage.images.used), (3, 1));
    assert_eq!((usage.layers.count, usage.layers.used), (4, 2));
    assert_eq!((usage.archives.count, usage.archives.used), (4, 2));
    assert_eq!((usage.downloads.count, usage.downloads.bytes), (1, 3));
    assert_eq!(usage.layers.bytes, 4 * usage.layers.reclaimable_bytes / 2);
    assert!(usage.free_bytes > 0);
    let pruned = place.store.prune(false).unwrap();
    assert_eq!((pruned.removed.len(), pruned.freed_bytes), (0, 3));
    let pruned = place.store.prune(true).unwrap();
    assert_eq!(pruned.removed, ["b:1", "c:1"]);
    let freed = usage.layers.reclaimable_bytes + usage.archives.reclaimable_bytes;
    assert_eq!(pruned.freed_bytes, freed);
    assert!(place.store.resolve(&name("a:1")).is_some());
    drop(pin);
    place.store.prune(true).unwrap();
    place.assert_empty("nothing is used");
}
