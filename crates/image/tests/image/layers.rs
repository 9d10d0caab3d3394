//! Layers on top of each other: what overlayfs shows must be what the layers mean.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use windlass_image::Content;

use crate::build::*;

fn is_whiteout(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn whiteouts_speak_of_the_layers_below() {
    let place = Place::new();
    let lower = Tar::default()
        .file("d/a", "1")
        .file("d/b", "1")
        .file("e/x", "1")
        .file("f/x", "1");
    let upper = Tar::default()
        .file("d/.wh.a", "")
        .file("d/.wh.absent", "")
        .file("e/.wh..wh..opq", "")
        .file("e/y", "2")
        // The whiteout comes first and last around what the same layer puts in its place.
        .file(".wh.f", "")
        .file("f/z", "2")
        .file("d/b", "2")
        .file("d/.wh.b", "");
    let image = place.load_layers(&[lower.end(), upper.end()]).unwrap();
    let top = &image.layers[0];
    assert!(is_whiteout(&top.join("d/a")));
    assert!(!top.join("d/absent").exists());
    assert_eq!(
        attribute(&top.join("e"), "trusted.overlay.opaque").as_deref(),
        Some(&b"y"[..])
    );
    assert_eq!(
        attribute(&top.join("f"), "trusted.overlay.opaque").as_deref(),
        Some(&b"y"[..])
    );
    assert_eq!(attribute(&top.join("d"), "trusted.overlay.opaque"), None);
    assert_eq!(std::fs::read_to_string(top.join("d/b")).unwrap(), "2");
    assert_eq!(names(&top.join("f")), ["z"]);
    assert!(image.layers[1].join("d/a").exists());
}

#[test]
fn parents_are_those_of_the_merged_tree() {
    let place = Place::new();
    let owned = Header {
        name: b"srv",
        kind: b'5',
        mode: 0o2750,
        uid: 7,
        ..Header::default()
    };
    let lower = Tar::default()
        .folder("usr/bin", 0o755)
        .file("usr/bin/sh", "sh")
        .symlink("bin", "usr/bin")
        .symlink("var/run", "/run")
        .symlink("up", "../../../usr")
        .folder("run", 0o711)
        .entry(&owned, b"")
        .file("srv/deep/x", "1");
    let upper = Tar::default()
        .file("bin/tool", "2")
        .file("bin/.wh.sh", "")
        .file("var/run/pid", "2")
        .file("up/lib/y", "2")
        .file("srv/new", "2")
        .hard_link("bin/tool2", "usr/bin/tool");
    let image = place.load_layers(&[lower.end(), upper.end()]).unwrap();
    let top = &image.layers[0];
    assert_eq!(
        std::fs::read_to_string(top.join("usr/bin/tool")).unwrap(),
        "2"
    );
    assert!(
        !top.join("bin").exists(),
        "the link below must stay visible"
    );
    assert!(is_whiteout(&top.join("usr/bin/sh")));
    assert_eq!(
        std::fs::metadata(top.join("usr/bin/tool2"))
            .unwrap()
            .nlink(),
        2
    );
    assert!(top.join("run/pid").exists() && top.join("usr/lib/y").exists());
    let mode = |path: &str| std::fs::metadata(top.join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("run"), mode("srv")), (0o711, 0o2750));
    assert_eq!(std::fs::metadata(top.join("srv")).unwrap().uid(), 7);
    assert_eq!(
        std::fs::metadata(top.join("srv")).unwrap().mtime(),
        1_000_000
    );
}

#[test]
fn a_folder_entry_replaces_a_link_below() {
    let place = Place::new();
    let lower = Tar::default()
        .folder("real", 0o755)
        .symlink("d", "real")
        .end();
    let upper = Tar::default().folder("d", 0o700).file("d/x", "2").end();
    let image = place.load_layers(&[lower, upper]).unwrap();
    assert!(image.layers[0].join("d/x").is_file());
    assert!(!image.layers[0].join("real").exists());
}

#[test]
fn hard_link_to_a_file_below() {
    let place = Place::new();
    let header = Header {
        name: b"a/f",
        mode: 0o4711,
        uid: 5,
        size: 1,
        ..Header::default()
    };
    let lower = Tar::default()
        .entry(&header, b"1")
        .symlink("l", "/etc/passwd")
        .end();
    let upper = Tar::default().hard_link("g", "a/f").end();
    let image = place.load_layers(&[lower.clone(), upper]).unwrap();
    let linked = std::fs::metadata(image.layers[0].join("g")).unwrap();
    assert_eq!(
        (linked.nlink(), linked.uid(), linked.mode() & 0o7777),
        (2, 5, 0o4711)
    );
    assert_eq!(
        std::fs::read_to_string(image.layers[0].join("a/f")).unwrap(),
        "1"
    );
    // Not to what a whiteout of the same layer took away, and not through a link below.
    for upper in [
        Tar::default().file("a/.wh.f", "").hard_link("g", "a/f"),
        Tar::default().hard_link("g", "l"),
    ] {
        let archive = docker_archive("test:2", &[lower.clone(), upper.end()]);
        assert!(load(&place.store, &archive).is_err());
    }
}

/// The kernel's own opinion, in a mount namespace that ends with the command.
#[test]
fn overlayfs_shows_the_merged_tree() {
    let place = Place::new();
    let layers = [
        Tar::default()
            .file("usr/bin/sh", "sh")
            .symlink("bin", "usr/bin")
            .file("gone/x", "1"),
        Tar::default()
            .file("bin/tool", "2")
            .file(".wh.gone", "")
            .file("o/lower", "2"),
        Tar::default()
            .file("o/.wh..wh..opq", "")
            .file("o/upper", "3")
            .file("usr/bin/.wh.sh", ""),
    ];
    let image = place.load_layers(&layers.map(Tar::end)).unwrap();
    let lowers: Vec<String> = image
        .layers
        .iter()
        .map(|l| l.display().to_string())
        .collect();
    let script =
        "mount -t overlay overlay -o ro,lowerdir=\"$1\" \"$2\" && cd \"$2\" && find . | sort";
    let output = std::process::Command::new("unshare")
        .args([
            "--mount",
            "--propagation=private",
            "sh",
            "-ec",
            script,
            "sh",
            &lowers.join(":"),
        ])
        .arg(place.outside())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<&str> = shown.lines().collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    let expected = [
        ".",
        "./bin",
        "./o",
        "./o/upper",
        "./usr",
        "./usr/bin",
        "./usr/bin/tool",
    ];
    assert_eq!(shown, expected, "{errors}");
}

/// A volume gets what a container would see in its place.
#[test]
fn content_is_copied_from_the_merged_tree() {
    let place = Place::new();
    let owned = |name: &'static [u8], kind, mode, uid| Header {
        name,
        kind,
        mode,
        uid,
        ..Header::default()
    };
    let layers = [
        Tar::default()
            .entry(&owned(b"var/data", b'5', 0o1770, 7), b"")
            .file("var/data/a", "1")
            .file("var/data/gone", "1")
            .file("var/data/hidden/x", "1")
            .file("var/data/merged/lower", "1")
            .file("var/data/was-file", "1")
            .file("var/bare/x", "1")
            .symlink("srv", "/var/./data")
            .symlink("loop", "loop"),
        Tar::default()
            .file("var/data/.wh.gone", "")
            .file("var/bare/.wh.x", "")
            .file("var/data/hidden/.wh..wh..opq", "")
            .file("var/data/hidden/y", "2")
            .file("var/data/merged/upper", "2")
            .file("var/data/.wh.was-file", "")
            .file("var/data/was-file/z", "2")
            .pax(&[("SCHILY.xattr.user.kept", b"1")])
            .entry(&owned(b"var/data/tool", b'0', 0o4755, 3), b"")
            .hard_link("var/data/merged/tool", "var/data/tool")
            .symlink("var/data/out", "../../../../../etc")
            .kind(b'6', "var/data/pipe", ""),
    ];
    let image = place.load_layers(&layers.map(Tar::end)).unwrap();
    let volume = place.folder.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let content = |path: &str| Content::find(&image.layers, path).unwrap();
    for path in ["/", "/none", "/loop", "/var/data/a", "/var/data/gone/x"] {
        assert!(content(path).is_none(), "{path}");
    }
    let bare = place.folder.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    content("/var/bare").unwrap().copy_into(&bare).unwrap();
    assert!(names(&bare).is_empty());
    // Again over what a copy that was broken off has left.
    std::fs::create_dir_all(volume.join("a/folder")).unwrap();
    std::os::unix::fs::symlink(place.outside().join("canary"), volume.join("tool")).unwrap();
    for path in ["/srv/", "/var/data"] {
        content(path).unwrap().copy_into(&volume).unwrap();
        let shown = ["a", "hidden", "merged", "out", "pipe", "tool", "was-file"];
        assert_eq!(names(&volume), shown, "{path}");
        assert_eq!(names(&volume.join("hidden")), ["y"]);
        assert_eq!(names(&volume.join("merged")), ["lower", "tool", "upper"]);
        assert_eq!(names(&volume.join("was-file")), ["z"]);
        let of = |name: &str| std::fs::symlink_metadata(volume.join(name)).unwrap();
        let top = std::fs::metadata(&volume).unwrap();
        assert_eq!(
            (top.mode() & 0o7777, top.uid(), top.mtime()),
            (0o1770, 7, 1_000_000)
        );
        let tool = of("tool");
        assert_eq!(
            (tool.mode() & 0o7777, tool.uid(), tool.nlink()),
            (0o4755, 3, 2)
        );
        assert_eq!(tool.ino(), of("merged/tool").ino());
        let kept = attribute(&volume.join("tool"), "user.kept");
        assert_eq!(kept.as_deref(), Some(&b"1"[..]));
        assert!(of("pipe").file_type().is_fifo() && of("pipe").mode() & 0o7777 == 0o644);
        let target = std::fs::read_link(volume.join("out")).unwrap();
        assert_eq!(target, Path::new("../../../../../etc"));
        assert_eq!(of("a").mtime(), 1_000_000);
    }
    let canary = std::fs::read_to_string(place.outside().join("canary")).unwrap();
    assert_eq!(canary, "untouched");
}

#[test]
fn attributes_that_stay_and_that_go() {
    let place = Place::new();
    // Version 2 of the kernel's structure, with cap_net_raw permitted and effective.
    let capability: &[u8] =
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let layer = Tar::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.kept", b"1"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/../other"),
            ("SCHILY.xattr.trusted.other", b"1"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"x"),
            ("SCHILY.xattr.security.ima", b"x"),
        ])
        .entry(
            &Header {
                name: b"ping",
                mode: 0o755,
                uid: 3,
                ..Header::default()
            },
            b"",
        )
        .pax(&[("SCHILY.xattr.security.capability", b"short")])
        .file("bad", "")
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .folder("d", 0o755)
        .end();
    let image = place.load_layers(&[layer]).unwrap();
    let ping = image.layers[0].join("ping");
    assert_eq!(
        attribute(&ping, "security.capability").as_deref(),
        Some(capability)
    );
    assert_eq!(attribute(&ping, "user.kept").as_deref(), Some(&b"1"[..]));
    for name in [
        "trusted.overlay.redirect",
        "trusted.other",
        "user.overlay.opaque",
        "security.selinux",
        "security.ima",
    ] {
        assert_eq!(attribute(&ping, name), None, "{name}");
    }
    assert_eq!(
        attribute(&image.layers[0].join("bad"), "security.capability"),
        None
    );
    assert_eq!(
        attribute(&image.layers[0].join("d"), "trusted.overlay.opaque"),
        None
    );
}

#[test]
fn every_compression_gives_the_same_layer() {
    let plain = Tar::default().file("x", &"hello ".repeat(9999)).end();
    let two_members = [gzip(&plain[..1000]), gzip(&plain[1000..])].concat();
    let place = Place::new();
    let mut folders = Vec::new();
    for layer in [
        plain.clone(),
        gzip(&plain),
        zstd::encode_all(&plain[..], 3).unwrap(),
        two_members,
    ] {
        let archive = docker_archive("test:1", &[layer]);
        place
            .store
            .load_archive(&gzip(&archive)[..], &replace(), &|_| {})
            .unwrap();
        folders.push(place.store.resolve(&name("test:1")).unwrap().layers);
    }
    folders.dedup();
    assert_eq!(folders.len(), 1, "one diff id is one folder");
}

fn replace() -> windlass_image::LoadOptions {
    windlass_image::LoadOptions {
        replace: true,
        name: None,
    }
}
