//! Layers that are odd and that Docker and podman take: each lands as they would put it, and nothing
//! outside is touched.

use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use crate::build::*;

type Case = (
    &'static str,
    fn() -> Tar,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

fn sized(kind: u8, name: &'static [u8], link: &'static [u8]) -> Header<'static> {
    Header {
        name,
        kind,
        link,
        size: 1000,
        ..Header::default()
    }
}

/// Each case: files with their content afterwards, and paths that are not there.
#[test]
fn taken_layers() {
    let cases: &[Case] = &[
        (
            "links and folders with a size have no content",
            || {
                Tar::default()
                    .file("f", "1")
                    .entry(&sized(b'1', b"hard", b"f"), b"")
                    .entry(&sized(b'2', b"soft", b"f"), b"")
                    .entry(&sized(b'5', b"d/", b""), b"")
                    .entry(&sized(b'6', b"pipe", b""), b"")
                    .file("d/g", "2")
            },
            &[("hard", "1"), ("soft", "1"), ("d/g", "2")],
            &[],
        ),
        (
            "dot dot after a part",
            || {
                Tar::default()
                    .folder("a", 0o755)
                    .file("a/../b", "1")
                    .file("./c/d/../../e", "2")
                    .file("/../g", "3")
                    .folder("a/..", 0o711)
                    .hard_link("h", "a/../b")
            },
            &[("b", "1"), ("e", "2"), ("g", "3"), ("h", "1")],
            &["a/b", "c"],
        ),
        (
            "empty records leave the header's value",
            || {
                let empty: [(&str, &[u8]); 6] = [
                    ("path", b""),
                    ("linkpath", b""),
                    ("size", b""),
                    ("uid", b""),
                    ("gid", b""),
                    ("mtime", b""),
                ];
                Tar::default().pax(&empty).file("f", "1").pax(&[])
            },
            &[("f", "1")],
            &[],
        ),
        (
            "of two records the last one counts",
            || {
                let twice: [(&str, &[u8]); 2] = [("path", b"a"), ("path", b"b")];
                Tar::default().pax(&twice).file("x", "1")
            },
            &[("b", "1")],
            &["a", "x"],
        ),
        (
            "global records change nothing",
            || {
                let global: [(&str, &[u8]); 4] = [
                    ("path", b"../../outside/canary"),
                    ("size", b"99"),
                    ("uid", b"-1"),
                    ("mtime", b"never"),
                ];
                Tar::default()
                    .extended(b'g', &global)
                    .file("f", "1")
                    .raw_extended(b'g', b"no records")
                    .file("g", "2")
            },
            &[("f", "1"), ("g", "2")],
            &[],
        ),
        (
            "marks of AUFS",
            || {
                Tar::default()
                    .file(".wh..wh.aufs", "")
                    .folder(".wh..wh.orph", 0o700)
                    .file(".wh..wh.orph/left", "x")
                    .folder(".wh..wh.plnk", 0o700)
                    .file(".wh..wh.plnk/12.34", "1")
                    .file("d/.wh..wh.other", "")
                    .hard_link("a", ".wh..wh.plnk/12.34")
                    .hard_link("d/b", "./.wh..wh.plnk/12.34")
            },
            &[("a", "1"), ("d/b", "1")],
            &[".wh..wh.aufs", ".wh..wh.plnk", ".wh..wh.orph"],
        ),
        (
            "links to nodes that are left out",
            || {
                Tar::default()
                    .kind(b'3', "dev/null", "")
                    .hard_link("dev/zero", "dev/null")
                    .hard_link("dev/full", "dev/zero")
                    .symlink("dev/stdin", "null")
                    .file("f", "1")
            },
            &[("f", "1")],
            &["dev/null", "dev/zero", "dev/full"],
        ),
        (
            "an extension that no entry follows",
            || Tar::default().file("f", "1").pax(&[("path", b"a")]),
            &[("f", "1")],
            &["a"],
        ),
    ];
    for (case, layer, files, absent) in cases {
        let place = Place::new();
        let image = place
            .load_layers(&[layer().end()])
            .unwrap_or_else(|e| panic!("{case}: {}", e.detail()));
        let root = &image.layers[0];
        for (path, content) in *files {
            let found = std::fs::read_to_string(root.join(path));
            assert_eq!(found.expect(case), *content, "{case}: {path}");
        }
        for path in *absent {
            assert!(!root.join(path).exists(), "{case}: {path}");
        }
        place.assert_outside_untouched(case);
    }
}

/// What one oddity may not be used for: each of these is refused as a whole.
#[test]
fn what_stays_refused() {
    let sparse = |records: &[(&str, &[u8])], content: &str| {
        Tar::default().pax(records).file("x", content).end()
    };
    let cases = [
        (
            "a kept file of AUFS that is none",
            Tar::default()
                .hard_link("a", ".wh..wh.plnk/../../outside/canary")
                .end(),
        ),
        (
            "a hard link to AUFS's own",
            Tar::default()
                .file(".wh..wh.aufs", "")
                .hard_link("a", ".wh..wh.aufs")
                .end(),
        ),
        (
            "a link that AUFS kept",
            Tar::default()
                .symlink(".wh..wh.plnk/1.2", "/etc/passwd")
                .hard_link("a", ".wh..wh.plnk/1.2")
                .end(),
        ),
        (
            "a name that leads out after a part",
            Tar::default().file("a/b/../../../x", "").end(),
        ),
        (
            "a hard link that leads out after a part",
            Tar::default()
                .hard_link("x", "a/../../outside/canary")
                .end(),
        ),
        (
            "a global header between an extension and its entry",
            Tar::default()
                .pax(&[("path", b"a")])
                .extended(b'g', &[("path", b"b")])
                .file("x", "")
                .end(),
        ),
        (
            "content behind the end",
            sparse(
                &[("GNU.sparse.size", b"3"), ("GNU.sparse.map", b"2,2")],
                "ab",
            ),
        ),
        (
            "pieces that overlap",
            sparse(
                &[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,2,1,2")],
                "abcd",
            ),
        ),
        (
            "a sparse name that leads out",
            sparse(
                &[
                    ("GNU.sparse.name", b"../x"),
                    ("GNU.sparse.size", b"1"),
                    ("GNU.sparse.map", b"0,1"),
                ],
                "a",
            ),
        ),
        (
            "a map that is cut",
            sparse(
                &[
                    ("GNU.sparse.major", b"1"),
                    ("GNU.sparse.minor", b"0"),
                    ("GNU.sparse.realsize", b"9"),
                ],
                "9\n1\n",
            ),
        ),
    ];
    for (case, layer) in cases {
        let place = Place::new();
        let error = place.load_layers(&[layer]).expect_err(case);
        let is_layer = matches!(error, windlass_image::Error::Layer { .. });
        assert!(is_layer, "{case}: {error:?}");
        place.assert_outside_untouched(case);
        place.assert_empty(case);
    }
}

/// Files with holes in the three forms of GNU tar. The name in the header is made up.
#[test]
fn sparse_files() {
    let big = 1u64 << 26;
    let (length, end) = (big.to_string(), (big - 2).to_string());
    let first: Vec<(&str, &[u8])> = vec![
        ("GNU.sparse.size", length.as_bytes()),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"4096"),
        ("GNU.sparse.numbytes", b"2"),
        ("GNU.sparse.offset", end.as_bytes()),
        ("GNU.sparse.numbytes", b"2"),
    ];
    let map = format!("4096,2,{end},2");
    let second: Vec<(&str, &[u8])> = vec![
        ("GNU.sparse.name", b"d/holes"),
        ("GNU.sparse.size", length.as_bytes()),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.map", map.as_bytes()),
    ];
    let third: Vec<(&str, &[u8])> = vec![
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"d/holes"),
        ("GNU.sparse.realsize", length.as_bytes()),
    ];
    let mut ahead = format!("2\n4096\n2\n{end}\n2\n");
    ahead.extend(std::iter::repeat_n('\0', 512 - ahead.len()));
    ahead.push_str("abcd");
    for (form, name, records, content) in [
        ("0.0", "d/holes", first, "abcd"),
        ("0.1", "./GNUSparseFile.7/holes", second, "abcd"),
        ("1.0", "./GNUSparseFile.7/holes", third, &*ahead),
    ] {
        let place = Place::new();
        let layer = Tar::default().pax(&records).file(name, content);
        let image = place
            .load_layers(&[layer.file("after", "1").end()])
            .unwrap_or_else(|e| panic!("{form}: {}", e.detail()));
        let root = &image.layers[0];
        let file = std::fs::File::open(root.join("d/holes")).expect(form);
        let mut read = [0; 4];
        file.read_exact_at(&mut read[..2], 4096).unwrap();
        file.read_exact_at(&mut read[2..], big - 2).unwrap();
        assert_eq!(&read, b"abcd", "{form}");
        let meta = file.metadata().unwrap();
        assert_eq!(meta.len(), big, "{form}");
        assert!(meta.blocks() < 100, "{form}: {} blocks", meta.blocks());
        assert_eq!(std::fs::read(root.join("after")).unwrap(), b"1", "{form}");
    }
}

/// Go reads a layer whose last file is not filled up to a whole block, and so do its tools.
#[test]
fn an_end_without_padding() {
    let place = Place::new();
    let mut layer = Tar::default().file("f", "hello").cut();
    layer.truncate(512 + 5);
    let image = place.load_layers(&[layer]).unwrap();
    assert_eq!(std::fs::read(image.layers[0].join("f")).unwrap(), b"hello");
}

/// Files that AUFS kept under one name are one file, with what their entry says.
#[test]
fn a_file_that_aufs_kept_has_all_its_names() {
    let place = Place::new();
    let kept = Header {
        name: b".wh..wh.plnk/1.2",
        mode: 0o4711,
        uid: 5,
        size: 1,
        ..Header::default()
    };
    let layer = Tar::default()
        .entry(&kept, b"1")
        .file("a", "replaced")
        .hard_link("a", ".wh..wh.plnk/1.2")
        .hard_link("d/b", ".wh..wh.plnk/1.2");
    let image = place.load_layers(&[layer.end()]).unwrap();
    let [a, b] = ["a", "d/b"].map(|name| std::fs::metadata(image.layers[0].join(name)).unwrap());
    assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
    assert_eq!(
        (a.mode() & 0o7777, a.uid(), a.mtime()),
        (0o4711, 5, 1_000_000)
    );
    assert_eq!(names(&image.layers[0]), ["a", "d"]);
}

/// The kernel's form: a version, then tag, permissions and id of each entry.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entry = |&(tag, perm, id): &(u16, u16, u32)| {
        [
            &tag.to_le_bytes()[..],
            &perm.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    };
    let entries: Vec<u8> = entries.iter().flat_map(entry).collect();
    [&2u32.to_le_bytes()[..], &entries].concat()
}

/// Lists stay, also the one that new files inherit, and files of the image inherit nothing.
#[test]
fn access_control_lists() {
    const NONE: u32 = u32::MAX;
    let list = acl(&[
        (0x01, 7, NONE),
        (0x02, 6, 33),
        (0x04, 5, NONE),
        (0x10, 7, NONE),
        (0x20, 0, NONE),
    ]);
    let place = Place::new();
    let access: [(&str, &[u8]); 1] = [("SCHILY.xattr.system.posix_acl_access", &list)];
    let default: [(&str, &[u8]); 1] = [("SCHILY.xattr.system.posix_acl_default", &list)];
    let lower = Tar::default()
        .pax(&access)
        .file("listed", "1")
        .pax(&default)
        .folder("d", 0o750)
        .file("d/plain", "1")
        .folder("d/below", 0o755)
        .pax(&[("SCHILY.xattr.system.posix_acl_access", b"damaged")])
        .file("damaged", "1")
        .end();
    // The first takes the folder as it is below, the second says anew what it is.
    let upper = Tar::default().file("d/new", "2").end();
    let third = Tar::default().file("d/x", "3").folder("d", 0o700).end();
    let image = place.load_layers(&[lower, upper, third]).unwrap();
    let value = |layer: usize, path: &str, name: &str| {
        let mut value = vec![0; 256];
        let path = image.layers[layer].join(path);
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    };
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    assert_eq!(value(2, "listed", access).as_ref(), Some(&list));
    assert_eq!(value(2, "d", default).as_ref(), Some(&list));
    assert_eq!(value(1, "d", default).as_ref(), Some(&list));
    assert_eq!(value(0, "d", default), None);
    for (layer, path) in [(2, "d/plain"), (2, "d/below"), (1, "d/new"), (0, "d/x")] {
        assert_eq!(value(layer, path, access), None, "{path}");
        assert_eq!(value(layer, path, default), None, "{path}");
    }
    assert_eq!(value(2, "damaged", access), None);
    let mode = |path: &str| {
        std::fs::metadata(image.layers[2].join(path))
            .unwrap()
            .mode()
    };
    assert_eq!(
        (mode("d") & 0o7777, mode("d/plain") & 0o7777),
        (0o750, 0o644)
    );
}
