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
    let error = place.store.remove(&a).unwrap_err();
    assert!(
        error.to_string().contains("arn:aws:ecs:x:task/1"),
        "{error}"
    );
    drop(pin);
    place.store.remove(&a).unwrap();
    assert!(place.store.resolve(&a).is_none());
    assert!(!image.layers[0].exists() && image.layers[1].exists());
    assert!(matches!(place.store.remove(&a), Err(Error::NotFound(_))));
    place.store.remove(&b).unwrap();
    place.assert_empty("after the last one");
    assert!(place.store.pin(image.manifest_digest, "x").is_err());
}

/// Records of older stores do not say which images were asked for by digest.
#[test]
fn images_without_a_name_stay_when_an_older_store_is_opened() {
    let Place { folder, store } = Place::new();
    let root = folder.path().join("store");
    load(&store, &docker_archive("a:1", &[layer("a")])).unwrap();
    load(&store, &docker_archive("b:1", &[layer("b")])).unwrap();
    drop(store);
    for entry in std::fs::read_dir(root.join("images")).unwrap() {
        let path = entry.unwrap().path();
        let json = std::fs::read_to_string(&path).unwrap();
        let older = json.replace(",\n  \"by_digest\": false", "");
        assert_ne!(older, json);
        std::fs::write(&path, older).unwrap();
    }
    let names = std::fs::read_dir(root.join("names")).unwrap();
    let of_b = |path: &std::path::Path| std::fs::read_to_string(path).unwrap().contains("b:1");
    let mut names = names.map(|entry| entry.unwrap().path());
    std::fs::remove_file(names.find(|path| of_b(path)).unwrap()).unwrap();

    let store = Store::open(&root).unwrap();
    assert_eq!(store.gc().unwrap().images, 0);
    assert_eq!(store.list().len(), 2);
    drop(store);
    // The one that had a name goes with it, also later.
    let names = std::fs::read_dir(root.join("names")).unwrap();
    for entry in names {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let store = Store::open(&root).unwrap();
    assert_eq!(store.gc().unwrap().images, 1);
    assert_eq!(store.list().len(), 1);
}

/// Unused is what has no name, no pin and was not asked for by digest. Before the first collection
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
    place.store.remove(&name("o:1")).unwrap();
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
    place.store.remove(&name("o:1")).unwrap();
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
            store.remove(&reference).unwrap();
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
        place.store.remove(&name(&format!("n{i}:1"))).unwrap();
    }
    place.assert_empty("all removed");
}
