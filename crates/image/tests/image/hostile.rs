//! Layers and archives that try to get out, to confuse, or to fill the machine.

use windlass_image::{Error, Limits};

use crate::build::*;

/// Layers that must be refused as a whole.
#[test]
fn refused_layers() {
    let canary = |place: &Place| place.outside().join("canary").display().to_string();
    type Case = (&'static str, Box<dyn Fn(&Place) -> Vec<u8>>);
    let cases: Vec<Case> = vec![
        (
            "dot dot",
            Box::new(|_| Tar::default().file("../x", "").end()),
        ),
        (
            "dot dot inside",
            Box::new(|_| Tar::default().file("a/../../x", "").end()),
        ),
        (
            "empty name",
            Box::new(|_| Tar::default().file("", "x").end()),
        ),
        (
            "a file as the root",
            Box::new(|_| Tar::default().file("./", "x").end()),
        ),
        (
            "an entry under a file",
            Box::new(|_| Tar::default().file("a", "").file("a/b", "").end()),
        ),
        (
            "hard link out, absolute",
            Box::new(move |p| Tar::default().hard_link("x", &canary(p)).end()),
        ),
        (
            "hard link out by dot dot",
            Box::new(|_| {
                Tar::default()
                    .hard_link("x", "../../../../outside/canary")
                    .end()
            }),
        ),
        (
            "hard link out through a link",
            Box::new(|p| {
                let tar = Tar::default().symlink("d", &p.outside().display().to_string());
                tar.hard_link("x", "d/canary").end()
            }),
        ),
        (
            "hard link to itself",
            Box::new(|_| Tar::default().file("x", "").hard_link("x", "x").end()),
        ),
        (
            "hard link to nothing",
            Box::new(|_| Tar::default().hard_link("x", "").end()),
        ),
        (
            "hard link to a folder",
            Box::new(|_| Tar::default().folder("d", 0o755).hard_link("x", "d").end()),
        ),
        (
            "link without a target",
            Box::new(|_| Tar::default().symlink("x", "").end()),
        ),
        (
            "links in a circle",
            Box::new(|_| {
                Tar::default()
                    .symlink("a", "b")
                    .symlink("b", "a")
                    .file("a/x", "")
                    .end()
            }),
        ),
        (
            "whiteout of dot dot",
            Box::new(|_| Tar::default().file("a/.wh...", "").end()),
        ),
        (
            "whiteout of dot",
            Box::new(|_| Tar::default().file("a/.wh..", "").end()),
        ),
        (
            "whiteout of nothing",
            Box::new(|_| Tar::default().file("a/.wh.", "").end()),
        ),
        (
            "pax name with dot dot",
            Box::new(|_| {
                Tar::default()
                    .pax(&[("path", b"../x")])
                    .file("innocent", "")
                    .end()
            }),
        ),
        (
            "pax name with a zero",
            Box::new(|_| {
                Tar::default()
                    .pax(&[("path", b"a\0b")])
                    .file("innocent", "")
                    .end()
            }),
        ),
        (
            "two pax headers",
            Box::new(|_| {
                let tar = Tar::default().pax(&[("path", b"a")]).pax(&[("path", b"b")]);
                tar.file("x", "").end()
            }),
        ),
        (
            "pax and gnu name",
            Box::new(|_| {
                let tar = Tar::default()
                    .pax(&[("path", b"a")])
                    .raw_extended(b'L', b"b\0");
                tar.file("x", "").end()
            }),
        ),
        (
            "damaged pax",
            Box::new(|_| {
                Tar::default()
                    .raw_extended(b'x', b"99 path=a\n")
                    .file("x", "")
                    .end()
            }),
        ),
        (
            "pax with a negative size",
            Box::new(|_| Tar::default().pax(&[("size", b"-1")]).file("x", "").end()),
        ),
        (
            "pax size beyond all bounds",
            Box::new(|_| {
                Tar::default()
                    .pax(&[("size", b"18446744073709551615")])
                    .file("x", "")
                    .end()
            }),
        ),
        (
            "pax sparse",
            Box::new(|_| {
                Tar::default()
                    .pax(&[("GNU.sparse.realsize", b"1099511627776")])
                    .file("x", "")
                    .end()
            }),
        ),
        (
            "gnu sparse",
            Box::new(|_| Tar::default().kind(b'S', "x", "").end()),
        ),
        (
            "unknown type",
            Box::new(|_| Tar::default().kind(b'Z', "x", "").end()),
        ),
        (
            "folder with content",
            Box::new(|_| {
                let header = Header {
                    name: b"d",
                    kind: b'5',
                    size: 5,
                    ..Header::default()
                };
                Tar::default().entry(&header, b"hello").end()
            }),
        ),
        (
            "owner beyond 32 bits",
            Box::new(|_| {
                let header = Header {
                    uid: 1 << 33,
                    ..Header::default()
                };
                Tar::default().entry(&header, b"").end()
            }),
        ),
        (
            "owner minus one",
            Box::new(|_| {
                Tar::default()
                    .pax(&[("uid", b"4294967295")])
                    .file("x", "")
                    .end()
            }),
        ),
        (
            "cut in a file",
            Box::new(|_| {
                let header = Header {
                    size: 5000,
                    ..Header::default()
                };
                Tar::default().entry(&header, b"short").cut()
            }),
        ),
        (
            "cut in a header",
            Box::new(|_| Tar::default().file("x", "y").file("z", "y").cut()[..1200].to_vec()),
        ),
        (
            "wrong checksum",
            Box::new(|_| {
                let mut bytes = Tar::default().file("x", "y").end();
                bytes[0] = b'z';
                bytes
            }),
        ),
        (
            "data after the end",
            Box::new(|_| {
                let mut bytes = Tar::default().file("x", "y").cut();
                bytes.extend_from_slice(&[0; 512]);
                bytes.extend(Tar::default().file("hidden", "y").end());
                bytes
            }),
        ),
        (
            "long name",
            Box::new(|_| {
                let long = "a/".repeat(3000);
                Tar::default()
                    .pax(&[("path", long.as_bytes())])
                    .file("x", "")
                    .end()
            }),
        ),
        (
            "long part",
            Box::new(|_| {
                let long = "a".repeat(300);
                Tar::default()
                    .pax(&[("path", long.as_bytes())])
                    .file("x", "")
                    .end()
            }),
        ),
        (
            "large extension header",
            Box::new(|_| {
                Tar::default()
                    .raw_extended(b'L', &vec![b'a'; 2 << 20])
                    .file("x", "")
                    .end()
            }),
        ),
        ("xz", Box::new(|_| b"\xfd7zXZ\0rest".to_vec())),
        ("no tar", Box::new(|_| vec![b'x'; 2048])),
        (
            "damaged gzip",
            Box::new(|_| {
                let mut bytes = gzip(&Tar::default().file("x", &"y".repeat(9000)).end());
                let middle = bytes.len() / 2;
                bytes.truncate(middle);
                bytes
            }),
        ),
    ];
    for (case, layer) in cases {
        let place = Place::new();
        let layer = layer(&place);
        // A compressed layer that is damaged has no digest; any will do.
        let layers = [layer];
        let good = [Tar::default().end()];
        let config = match case {
            "damaged gzip" | "xz" => config(&good),
            _ => config(&layers),
        };
        let loaded = load(
            &place.store,
            &docker_archive_with("test:1", &layers, &config),
        );
        let error = loaded.expect_err(case);
        assert!(matches!(error, Error::Layer { .. }), "{case}: {error:?}");
        assert!(
            !error.to_string().contains(|c: char| c.is_control()),
            "{case}: {error}"
        );
        assert!(place.store.list().is_empty(), "{case}");
        place.assert_outside_untouched(case);
        place.assert_empty(case);
    }
}

/// Layers that are odd but harmless: everything lands inside.
#[test]
fn contained_layers() {
    type Case = (
        &'static str,
        fn(&str) -> Tar,
        &'static [(&'static str, &'static str)],
    );
    let cases: Vec<Case> = vec![
        (
            "absolute name",
            |_| Tar::default().file("/etc/x", "1"),
            &[("etc/x", "1")],
        ),
        (
            "dots and slashes",
            |_| Tar::default().file(".//a/./b//c", "1"),
            &[("a/b/c", "1")],
        ),
        (
            "link to the outside, then a file through it",
            |outside| Tar::default().symlink("d", outside).file("d/canary", "1"),
            &[],
        ),
        (
            "link up, then a file through it",
            |_| {
                Tar::default()
                    .symlink("d", "../../../../../outside")
                    .file("d/canary", "1")
            },
            &[("outside/canary", "1")],
        ),
        (
            "link to the outside, then a folder of its name",
            |outside| {
                Tar::default()
                    .symlink("d", outside)
                    .folder("d", 0o700)
                    .file("d/x", "1")
            },
            &[("d/x", "1")],
        ),
        (
            "link to a file outside, then a file of its name",
            |outside| {
                Tar::default()
                    .symlink("f", &format!("{outside}/canary"))
                    .file("f", "1")
            },
            &[("f", "1")],
        ),
        (
            "hard link to a link, then a file of its name",
            |outside| {
                let tar = Tar::default().symlink("l", &format!("{outside}/canary"));
                tar.hard_link("h", "l").file("h", "1")
            },
            &[("h", "1")],
        ),
        (
            "a file twice",
            |_| Tar::default().file("f", "1").file("f", "2"),
            &[("f", "2")],
        ),
        (
            "a hard link is replaced, not written through",
            |_| {
                Tar::default()
                    .file("a", "1")
                    .hard_link("b", "a")
                    .file("b", "2")
            },
            &[("a", "1"), ("b", "2")],
        ),
        (
            "a folder becomes a file",
            |_| Tar::default().file("d/x/y", "1").file("d", "2"),
            &[("d", "2")],
        ),
        (
            "a folder becomes a link after it was used",
            |outside| {
                let tar = Tar::default().file("d/x", "1").symlink("d", outside);
                tar.file("d/canary", "2")
            },
            &[],
        ),
        (
            "whiteout through a link to the outside",
            |outside| {
                Tar::default()
                    .symlink("d", outside)
                    .file("d/.wh.canary", "")
            },
            &[],
        ),
        (
            "opaque through a link to the outside",
            |outside| {
                Tar::default()
                    .symlink("d", outside)
                    .file("d/.wh..wh..opq", "")
            },
            &[],
        ),
        (
            "pax size wins over the header's",
            |_| {
                let header = Header {
                    name: b"f",
                    size: 0,
                    ..Header::default()
                };
                let tar = Tar::default()
                    .pax(&[("size", b"5")])
                    .entry(&header, b"hello");
                tar.file("g", "2")
            },
            &[("f", "hello"), ("g", "2")],
        ),
        (
            "pax before a gnu long name speaks of the file",
            |_| {
                let tar = Tar::default()
                    .pax(&[("size", b"5")])
                    .raw_extended(b'L', b"long/name\0");
                tar.entry(
                    &Header {
                        size: 0,
                        ..Header::default()
                    },
                    b"hello",
                )
                .file("g", "2")
            },
            &[("long/name", "hello"), ("g", "2")],
        ),
        (
            "a global comment",
            |_| {
                Tar::default()
                    .extended(b'g', &[("comment", b"x")])
                    .file("f", "1")
            },
            &[("f", "1")],
        ),
        (
            "devices and what follows them",
            |_| {
                Tar::default()
                    .kind(b'3', "dev/sda", "")
                    .kind(b'4', "b", "")
                    .file("f", "1")
            },
            &[("f", "1")],
        ),
        (
            "times at the ends",
            |_| {
                let header = Header {
                    name: b"f",
                    size: 1,
                    mtime: 1 << 40,
                    ..Header::default()
                };
                let tar = Tar::default().entry(&header, b"1");
                tar.pax(&[("mtime", b"-9.5")]).file("g", "2")
            },
            &[("f", "1"), ("g", "2")],
        ),
    ];
    for (case, layer, expected) in cases {
        let place = Place::new();
        let outside = place.outside().display().to_string();
        let image = place
            .load_layers(&[layer(&outside).end()])
            .unwrap_or_else(|e| {
                panic!("{case}: {}", e.detail());
            });
        for (path, content) in expected {
            let path = image.layers[0].join(path);
            assert_eq!(
                std::fs::read_to_string(&path).expect(case),
                *content,
                "{case}"
            );
        }
        assert!(!image.layers[0].join("dev/sda").exists(), "{case}");
        place.assert_outside_untouched(case);
    }
}

#[test]
fn names_are_shown_without_control_characters() {
    let place = Place::new();
    let layer = Tar::default().file("../a\x1b[31m/b\n", "").end();
    let error = place.load_layers(&[layer]).unwrap_err().to_string();
    assert!(error.contains("\\x1b[31m") && !error.contains('\x1b') && !error.contains('\n'));
    let layer = Tar::default().file("a\n\x1b\u{80}", "x").end();
    place.load_layers(&[layer]).unwrap();
}

#[test]
fn bombs() {
    let small = || Limits {
        image_bytes: 1 << 20,
        image_entries: 50,
        layers: 3,
        blob_bytes: 4 << 20,
        manifest_bytes: 4096,
        config_bytes: 4096,
        archive_members: 10,
        zstd_window_log: 20,
        ..Limits::default()
    };
    let zeros = |bytes: usize| {
        let header = Header {
            name: b"zeros",
            size: bytes as u64,
            ..Header::default()
        };
        Tar::default().entry(&header, &vec![0; bytes]).end()
    };
    let noise: String = (0..600_000u64)
        .map(|i| char::from(b' ' + (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57) as u8 % 90))
        .collect();
    let many = (0..60)
        .fold(Tar::default(), |tar, i| tar.file(&format!("f{i}"), ""))
        .end();
    let window = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        encoder.long_distance_matching(true).unwrap();
        std::io::Write::write_all(&mut encoder, &zeros(40_000)).unwrap();
        encoder.finish().unwrap()
    };
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("bytes, gzip", vec![gzip(&zeros(2 << 20))]),
        (
            "bytes, zstd",
            vec![zstd::encode_all(&zeros(2 << 20)[..], 1).unwrap()],
        ),
        ("holes", vec![sparse_file(3 << 19), sparse_file(3 << 19)]),
        (
            "bytes",
            vec![Tar::default().file("a", &noise).file("b", &noise).end()],
        ),
        (
            "bytes, all layers together",
            vec![
                Tar::default().file("a", &noise).end(),
                Tar::default().file("b", &noise).end(),
            ],
        ),
        ("entries", vec![many]),
        ("layers", vec![Tar::default().end(); 4]),
        ("window", vec![window]),
    ];
    for (case, layers) in cases {
        let place = Place::with(small());
        // The archive itself must stay below its own limits: this is about the layers.
        let error = place.load_layers(&layers).expect_err(case);
        let by_limit = matches!(error, Error::Limit { .. });
        assert!(
            by_limit || case == "window" && matches!(error, Error::Layer { .. }),
            "{case}: {error:?}"
        );
        place.assert_empty(case);
    }
    let place = Place::with(small());
    let members = (0..20)
        .fold(Tar::default(), |tar, i| tar.file(&format!("f{i}"), ""))
        .end();
    assert!(matches!(
        load(&place.store, &members),
        Err(Error::Limit { .. })
    ));
    let large = format!("[{}]", " ".repeat(5000));
    let archive = Tar::default().file("manifest.json", &large).end();
    assert!(matches!(
        load(&place.store, &archive),
        Err(Error::Limit { .. })
    ));
    place.assert_empty("archive");
}

/// A file of nothing but a hole.
fn sparse_file(length: u64) -> Vec<u8> {
    let length = length.to_string();
    let records: [(&str, &[u8]); 2] = [
        ("GNU.sparse.size", length.as_bytes()),
        ("GNU.sparse.map", b""),
    ];
    Tar::default().pax(&records).file("hole", "").end()
}

/// However well a layer compresses, it comes in while there is room: zeros need none. Below the
/// reserve nothing does.
#[test]
fn the_disk_is_the_limit() {
    use std::os::unix::fs::MetadataExt as _;
    let length = 64 << 20;
    let header = Header {
        name: b"zeros",
        size: length,
        ..Header::default()
    };
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let mut hasher = sha2::Sha256::default();
    let mut write = |bytes: &[u8]| {
        sha2::Digest::update(&mut hasher, bytes);
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
    };
    write(&Tar::default().entry(&header, b"").cut());
    for _ in 0..length >> 20 {
        write(&[0; 1 << 20]);
    }
    write(&[0; 1024]);
    let layer = encoder.finish().unwrap();
    assert!(layer.len() as u64 * 1000 < length, "1000 times smaller");
    let diff_id = format!("sha256:{}", hex::encode(sha2::Digest::finalize(hasher)));
    let config = config(&[]).replace("[]", &format!("[\"{diff_id}\"]"));
    let archive = docker_archive_with("zeros:1", &[layer], &config);
    let place = Place::new();
    load(&place.store, &archive).unwrap();
    let image = place.store.resolve(&name("zeros:1")).unwrap();
    let meta = std::fs::metadata(image.layers[0].join("zeros")).unwrap();
    assert_eq!((meta.len(), meta.blocks()), (length, 0));

    let place = Place::with(Limits {
        disk_reserve_bytes: u64::MAX,
        ..Limits::default()
    });
    let error = load(&place.store, &archive).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    place.assert_empty("below the reserve");
}

#[test]
fn archives_that_lie() {
    let layer = vec![Tar::default().file("x", "1").end()];
    let other = vec![Tar::default().file("x", "2").end()];
    let manifest = |config: &str, layer: &str| {
        serde_json::json!([{"Config": config, "RepoTags": ["t:1"], "Layers": [layer]}]).to_string()
    };
    let docker = |config_name: &str, layer_name: &str| {
        Tar::default()
            .file("config.json", &config(&layer))
            .symlink("linked.tar", "/etc/passwd")
            .symlink("linked.json", "../../../etc/passwd")
            .hard_link("hard.tar", "/etc/passwd")
            .file("manifest.json", &manifest(config_name, layer_name))
            .end()
    };
    let flipped = {
        let mut bytes = oci_archive("t:1", &layer);
        let at = bytes.windows(7).position(|w| w == b"\"amd64\"").unwrap();
        bytes[at + 1] = b'b';
        bytes
    };
    let flipped_layer = {
        let mut bytes = oci_archive("t:1", &layer);
        // The content of the layer's only file.
        let at = bytes
            .windows(9)
            .position(|w| w == b"1\0\0\0\0\0\0\0\0")
            .unwrap();
        bytes[at] = b'3';
        bytes
    };
    let twice = [
        Tar::default().file("manifest.json", "[]").cut(),
        Tar::default().file("manifest.json", "[]").end(),
    ]
    .concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("config outside", docker("../../etc/passwd", "config.json")),
        ("config absolute", docker("/etc/passwd", "config.json")),
        ("config is a link", docker("linked.json", "config.json")),
        (
            "layer outside",
            docker("config.json", "../../../etc/passwd"),
        ),
        ("layer is a link", docker("config.json", "linked.tar")),
        ("layer is a hard link", docker("config.json", "hard.tar")),
        ("one member twice", twice),
        (
            "another diff id",
            docker_archive_with("t:1", &layer, &config(&other)),
        ),
        (
            "fewer diff ids",
            docker_archive_with("t:1", &layer, &config(&[])),
        ),
        ("flipped configuration", flipped),
        ("flipped layer", flipped_layer),
        ("nothing in it", Tar::default().file("hello", "x").end()),
        ("empty", Vec::new()),
        ("no image", Tar::default().file("manifest.json", "[]").end()),
        ("no name", {
            let config = config(&layer);
            let json = r#"[{"Config":"c","RepoTags":null,"Layers":[]}]"#;
            Tar::default()
                .file("c", &config)
                .file("manifest.json", json)
                .end()
        }),
        ("index as manifest", {
            let index = r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":null}"#;
            Tar::default().file("index.json", index).end()
        }),
        ("digest as path", {
            let index = r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}"#;
            Tar::default().file("index.json", index).end()
        }),
        ("another architecture", {
            let config = config(&layer).replace("amd64", "s390x");
            docker_archive_with("t:1", &layer, &config)
        }),
    ];
    for (case, archive) in cases {
        let place = Place::new();
        let error = load(&place.store, &archive).expect_err(case);
        assert!(!error.detail().is_empty(), "{case}");
        assert!(place.store.list().is_empty(), "{case}");
        place.assert_empty(case);
    }
}
