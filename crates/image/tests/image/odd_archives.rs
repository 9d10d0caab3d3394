//! Archives as other tools write them: links, names of all kinds, several platforms.

use serde_json::{Value, json};
use windlass_image::{Error, LoadOptions, LoadedArchive, Result};

use crate::build::*;

fn layer(content: &str) -> Vec<u8> {
    Tar::default().file("x", content).end()
}

fn load_as(place: &Place, archive: &[u8], given: Option<&str>) -> Result<LoadedArchive> {
    let options = LoadOptions {
        replace: true,
        name: given.map(|given| given.parse().unwrap()),
    };
    place.store.load_archive(archive, &options, &|_| {})
}

/// What the images of an archive are called afterwards, in short.
fn called(loaded: &LoadedArchive) -> Vec<String> {
    let mut names: Vec<String> = loaded
        .images
        .iter()
        .map(|image| image.reference.familiar())
        .collect();
    names.sort();
    names
}

fn member(tar: Tar, name: &str, content: &[u8]) -> Tar {
    let header = Header {
        name: name.as_bytes(),
        size: content.len() as u64,
        ..Header::default()
    };
    tar.entry(&header, content)
}

fn manifest(images: &[(&str, Value, &[&str])]) -> String {
    let images: Vec<Value> = images
        .iter()
        .map(|(config, tags, layers)| json!({"Config": config, "RepoTags": tags, "Layers": layers}))
        .collect();
    json!(images).to_string()
}

/// Docker before 25 writes a layer once and links to it from wherever it occurs again.
#[test]
fn repeated_layers_are_links() {
    let (base, app) = (layer("base"), layer("app"));
    let both = [base.clone(), app.clone()];
    let tar = member(Tar::default(), "one/layer.tar", &base)
        .symlink("two/layer.tar", "../one/layer.tar")
        .hard_link("three/layer.tar", "two/layer.tar")
        .symlink("four/layer.tar", "./../three/layer.tar");
    let tar = member(tar, "app/layer.tar", &app)
        .file("one.json", &config(std::slice::from_ref(&base)))
        .file("two.json", &config(&both));
    let images = manifest(&[
        ("one.json", json!(["base:1"]), &["one/layer.tar"]),
        (
            "two.json",
            json!(["app:1"]),
            &["four/layer.tar", "app/layer.tar"],
        ),
    ]);
    let place = Place::new();
    let loaded = load_as(&place, &tar.file("manifest.json", &images).end(), None).unwrap();
    assert_eq!(called(&loaded), ["app:1", "base:1"]);
    let image = place.store.resolve(&name("app:1")).unwrap();
    assert_eq!(std::fs::read(image.layers[0].join("x")).unwrap(), b"app");
    assert_eq!(std::fs::read(image.layers[1].join("x")).unwrap(), b"base");
    // The same layer twice in one image.
    let twice = docker_archive("twice:1", &[layer("same"), layer("same")]);
    assert_eq!(called(&load_as(&place, &twice, None).unwrap()), ["twice:1"]);
}

/// Members under other spellings of their names, and twice: the later one counts.
#[test]
fn spellings_of_members() {
    let layers = [layer("1")];
    let images = manifest(&[("./c.json", json!(["t:1"]), &["/a/../l.tar"])]);
    let tar = Tar::default()
        .file("./manifest.json", "[]")
        .folder("./", 0o755)
        .file("./c.json", "{}")
        .file("/c.json", &config(&layers));
    let tar = member(tar, ".//l.tar", &layers[0])
        .file("../outside", "no member")
        .file("manifest.json", &images);
    let place = Place::new();
    let loaded = load_as(&place, &tar.end(), None).unwrap();
    assert_eq!(called(&loaded), ["t:1"]);
    place.assert_outside_untouched("spellings");
}

/// No link leads to anything that is not in the archive.
#[test]
fn links_lead_nowhere_else() {
    let layers = [layer("1")];
    for (case, links) in [
        ("absolute", Tar::default().symlink("l.tar", "/etc/passwd")),
        (
            "out",
            Tar::default().symlink("l.tar", "../../../etc/passwd"),
        ),
        (
            "a circle",
            Tar::default().symlink("l.tar", "m").symlink("m", "l.tar"),
        ),
        ("itself", Tar::default().symlink("l.tar", "l.tar")),
        ("nothing", Tar::default().hard_link("l.tar", "none")),
        (
            "a folder",
            Tar::default().folder("d", 0o755).symlink("l.tar", "d"),
        ),
    ] {
        let images = manifest(&[("c.json", json!(["t:1"]), &["l.tar"])]);
        let archive = links
            .file("c.json", &config(&layers))
            .file("manifest.json", &images);
        let place = Place::new();
        let error = load_as(&place, &archive.end(), None).expect_err(case);
        assert!(matches!(error, Error::Archive { .. }), "{case}: {error:?}");
        place.assert_empty(case);
    }
}

#[test]
fn what_images_are_called() {
    let place = Place::new();
    let layers = [layer("1")];
    let with = |tags: Value| {
        let images = manifest(&[("c.json", tags, &["l.tar"])]);
        member(Tar::default(), "l.tar", &layers[0])
            .file("c.json", &config(&layers))
            .file("manifest.json", &images)
            .end()
    };
    let unnamed = load_as(&place, &with(Value::Null), None).unwrap();
    let id = unnamed.images[0].digest.to_string();
    let of = |text: &'static str| vec![text.to_string()];
    let by_id = vec![id.clone()];
    for (tags, given, want) in [
        (Value::Null, None, by_id.clone()),
        (json!([]), None, by_id.clone()),
        (json!(["<none>:<none>"]), None, by_id),
        (Value::Null, Some("web"), of("web:latest")),
        (json!([]), Some("web:2"), of("web:2")),
        (json!(["a:1"]), Some("web"), of("web:1")),
        (json!(["a:1"]), Some("web:2"), of("web:2")),
        (
            json!(["a:1", "b:2"]),
            None,
            vec!["a:1".into(), "b:2".into()],
        ),
        (json!(["a:1", "b:1"]), Some("web"), of("web:1")),
    ] {
        let loaded = load_as(&place, &with(tags.clone()), given).unwrap();
        assert_eq!(called(&loaded), want, "{tags} as {given:?}");
    }
    // An id finds the image, its configuration's digest too, whatever it is called.
    let config_id = digest(config(&layers).as_bytes());
    for text in [&id, &config_id] {
        let found = place.store.resolve(&name(text)).expect(text);
        assert_eq!(found.manifest_digest.to_string(), id);
    }
}

struct Layout(Tar, Vec<Value>);

impl Layout {
    fn new() -> Self {
        Self(Tar::default(), Vec::new())
    }

    fn blob(&mut self, bytes: &[u8], media_type: &str) -> Value {
        let digest = digest(bytes);
        let name = format!("blobs/sha256/{}", &digest[7..]);
        self.0 = member(self.0.clone(), &name, bytes);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn image(&mut self, content: &str, architecture: &str) -> Value {
        let layer = layer(content);
        let config = config(std::slice::from_ref(&layer)).replace("amd64", architecture);
        let config = self.blob(
            config.as_bytes(),
            "application/vnd.oci.image.config.v1+json",
        );
        let layers = [self.blob(&layer, "application/vnd.oci.image.layer.v1.tar")];
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let manifest = manifest.to_string();
        self.blob(
            manifest.as_bytes(),
            "application/vnd.oci.image.manifest.v1+json",
        )
    }

    fn index(&mut self, entries: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        self.blob(index.as_bytes(), "application/vnd.oci.image.index.v1+json")
    }

    fn end(self) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "annotations": null, "manifests": self.1});
        self.0.file("index.json", &index.to_string()).end()
    }
}

fn with(mut entry: Value, member: &str, value: Value) -> Value {
    entry[member] = value;
    entry
}

fn reference(entry: Value, text: &str) -> Value {
    let annotations = json!({"org.opencontainers.image.ref.name": text});
    with(entry, "annotations", annotations)
}

fn platform(entry: Value, architecture: &str, variant: Option<&str>) -> Value {
    let platform = json!({"os": "linux", "architecture": architecture, "variant": variant});
    with(entry, "platform", platform)
}

fn content(place: &Place, text: &str) -> String {
    let image = place.store.resolve(&name(text)).expect(text);
    std::fs::read_to_string(image.layers[0].join("x")).unwrap()
}

/// Many tools write a tag and no name: it goes with a name that is given.
#[test]
fn layouts_with_tags_alone() {
    let place = Place::new();
    let mut layout = Layout::new();
    let (one, two) = (layout.image("1", "amd64"), layout.image("2", "amd64"));
    let digests = [&one, &two].map(|entry| entry["digest"].as_str().unwrap().to_string());
    layout.1 = vec![reference(one, "v1"), reference(two, "v2")];
    let archive = layout.end();
    let loaded = load_as(&place, &archive, None).unwrap();
    let mut want = digests.to_vec();
    want.sort();
    assert_eq!(called(&loaded), want);
    let loaded = load_as(&place, &archive, Some("app")).unwrap();
    assert_eq!(called(&loaded), ["app:v1", "app:v2"]);
    assert_eq!(
        (content(&place, "app:v1"), content(&place, "app:v2")),
        ("1".into(), "2".into())
    );
    // One name for two images would lose one of them.
    let error = load_as(&place, &archive, Some("app:1")).unwrap_err();
    assert!(error.to_string().contains("two of its images"), "{error}");
}

/// Images without a name stand beside one that has one: all of them come in.
#[test]
fn nothing_is_dropped_in_silence() {
    let place = Place::new();
    let mut layout = Layout::new();
    let named = layout.image("named", "amd64");
    let unnamed = layout.image("unnamed", "amd64");
    let foreign = layout.image("foreign", "s390x");
    let attestation = layout.image("{}", "unknown");
    let id = unnamed["digest"].as_str().unwrap().to_string();
    layout.1 = vec![
        reference(named, "docker.io/library/a:1"),
        unnamed,
        with(
            attestation,
            "platform",
            json!({"os": "unknown", "architecture": "unknown"}),
        ),
        reference(platform(foreign, "s390x", None), "docker.io/library/b:1"),
    ];
    let loaded = load_as(&place, &layout.end(), None).unwrap();
    assert_eq!(called(&loaded), ["a:1", &id]);
    assert_eq!(loaded.left_out.len(), 2, "{:?}", loaded.left_out);
    assert!(loaded.left_out.iter().any(|text| text.contains("s390x")));
    assert_eq!(content(&place, &id), "unnamed");
}

#[test]
fn several_platforms_in_every_form() {
    type Form = fn(&mut Layout) -> Vec<Value>;
    let own = |l: &mut Layout| platform(l.image("own", "amd64"), "amd64", None);
    let cases: &[(&str, Form)] = &[
        ("side by side", |l| {
            let arm = platform(l.image("arm", "arm64"), "arm64", Some("v8"));
            let own = platform(l.image("own", "amd64"), "amd64", None);
            vec![
                reference(arm, "docker.io/library/t:1"),
                reference(own, "docker.io/library/t:1"),
            ]
        }),
        ("an index in an index in an index", |l| {
            let arm = platform(l.image("arm", "arm64"), "arm64", None);
            let own = platform(l.image("own", "amd64"), "amd64", None);
            let inner = l.index(&[arm, own]);
            let outer = l.index(&[inner]);
            vec![reference(outer, "docker.io/library/t:1")]
        }),
        ("without platforms", |l| {
            let arm = l.image("arm", "arm64");
            let own = l.image("own", "x86_64");
            let index = l.index(&[arm, own]);
            vec![reference(index, "docker.io/library/t:1")]
        }),
        ("null members and other digests beside", |l| {
            let own = with(l.image("own", "amd64"), "annotations", Value::Null);
            let own = with(own, "platform", Value::Null);
            let other = json!({"digest": format!("sha512:{}", "0".repeat(128)), "size": 1});
            let index = l.index(&[other, own]);
            vec![reference(index, "docker.io/library/t:1")]
        }),
        ("an attestation beside", |l| {
            let own = platform(l.image("own", "amd64"), "amd64", None);
            let side = l.image("{}", "unknown");
            let side = with(
                side,
                "annotations",
                json!({"vnd.docker.reference.type": "attestation-manifest"}),
            );
            let index = l.index(&[side, own]);
            vec![reference(index, "docker.io/library/t:1")]
        }),
        ("only the blobs of this platform", |l| {
            let own = platform(l.image("own", "amd64"), "amd64", None);
            let absent = json!({"digest": digest(b"absent"), "size": 6,
                "mediaType": "application/vnd.oci.image.manifest.v1+json"});
            let index = l.index(&[platform(absent, "arm64", None), own]);
            vec![reference(index, "docker.io/library/t:1")]
        }),
    ];
    for (case, form) in cases {
        let place = Place::new();
        let mut layout = Layout::new();
        layout.1 = form(&mut layout);
        let loaded = load_as(&place, &layout.end(), None).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(called(&loaded), ["t:1"], "{case}");
        assert_eq!(content(&place, "t:1"), "own", "{case}");
    }
    // Without a name it is one image, too.
    let place = Place::new();
    let mut layout = Layout::new();
    let arm = platform(layout.image("arm", "arm64"), "arm64", None);
    layout.1 = vec![arm, own(&mut layout)];
    assert_eq!(
        load_as(&place, &layout.end(), None).unwrap().images.len(),
        1
    );
    // One that is for others alone is refused, with what there is.
    let mut layout = Layout::new();
    let arm = platform(layout.image("arm", "arm64"), "arm64", Some("v8"));
    layout.1 = vec![reference(layout.index(&[arm]), "docker.io/library/t:2")];
    let error = load_as(&place, &layout.end(), None).unwrap_err();
    assert!(error.to_string().contains("linux/arm64/v8"), "{error}");
}

/// Indexes that lead to themselves or without end.
#[test]
fn indexes_end() {
    let place = Place::new();
    let mut layout = Layout::new();
    let mut entry = layout.image("deep", "amd64");
    for _ in 0..8 {
        entry = layout.index(&[entry]);
    }
    layout.1 = vec![reference(entry, "docker.io/library/t:1")];
    let error = load_as(&place, &layout.end(), None).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
    place.assert_empty("too deep");
}
