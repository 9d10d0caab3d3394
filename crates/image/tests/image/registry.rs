//! Pulling: from a real registry (Debian's docker-registry, filled by skopeo), and from registries
//! that cut, hang, lie and listen.

use std::net::TcpListener;
use std::time::Duration;

use windlass_image::{Credentials, Error, Limits, Mirrors, PullOptions};

use crate::build::*;
use crate::real_registry::RealRegistry;
use crate::stand_in::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_download_goes_on() {
    let (manifest, config, layer) = image();
    let layer_digest = digest(&layer);
    let fake = Fake::start(move |asked, before| {
        if asked.path.contains("/manifests/") {
            full(MANIFEST, manifest.as_bytes())
        } else if asked.path.ends_with(&digest(config.as_bytes())) {
            full("x", config.as_bytes())
        } else if before == 0 {
            let (head, body) = full("x", &layer);
            (head, body[..body.len() / 2].to_vec())
        } else {
            let from: usize = asked.headers["range"]
                .trim_start_matches("bytes=")
                .trim_end_matches('-')
                .parse()
                .unwrap();
            let (total, rest) = (layer.len(), &layer[from..]);
            let head = format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}\r\nContent-Length: {}",
                total - 1,
                rest.len()
            );
            (head, rest.to_vec())
        }
    });
    let place = Place::new();
    let reference = name(&format!("127.0.0.1:{}/app:v1", fake.port));
    // Two that want the same share one pull.
    let (one, two) = tokio::join!(
        place.store.pull(&reference, PullOptions::default()),
        place.store.pull(&reference, PullOptions::default()),
    );
    assert_eq!(one.unwrap().layers, two.unwrap().layers);
    assert_eq!(fake.asked("/manifests/").len(), 1);
    let blobs = fake.asked(&layer_digest);
    assert_eq!(blobs.len(), 2, "{blobs:?}");
    assert!(blobs[1].headers["range"].starts_with("bytes="), "{blobs:?}");
    assert_ne!(blobs[1].headers["range"], "bytes=0-");
    assert!(names(&place.folder.path().join("store/partial")).is_empty());
    // Known now: the next pull asks for the manifest alone.
    place
        .store
        .pull(&reference, PullOptions::default())
        .await
        .unwrap();
    assert_eq!(fake.asked(&layer_digest).len(), 2);
}

/// Only the first answer is hurried: a registry that is there may be slow.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_registry_gets_time() {
    let (manifest, config, layer) = image();
    let (config_digest, layer_digest) = (digest(config.as_bytes()), digest(&layer));
    let fake = Fake::start(move |asked, _| {
        let slow = asked.path.contains(&layer_digest);
        // Longer than any first answer may take.
        std::thread::sleep(Duration::from_millis(if slow { 3_500 } else { 0 }));
        match asked.path.as_str() {
            path if path.contains("manifests") => full(MANIFEST, manifest.as_bytes()),
            path if path.contains(&config_digest) => full("x", config.as_bytes()),
            _ => full("x", &layer),
        }
    });
    let place = Place::new();
    let reference = name(&format!("127.0.0.1:{}/app:v1", fake.port));
    let pulled = place.store.pull(&reference, PullOptions::default()).await;
    let image = pulled.unwrap();
    assert!(image.layers[0].join("noise").exists());
    // One that is asked for by digest has that name, and stays until it is removed by it.
    let exact = reference.clone().with_digest(image.manifest_digest);
    place
        .store
        .pull(&exact, PullOptions::default())
        .await
        .unwrap();
    place.store.remove(&reference.to_string()).unwrap();
    place.store.gc().unwrap();
    assert!(place.store.resolve(&exact).is_some());
    let listed = place.store.list();
    assert_eq!(listed[0].reference.as_ref(), Some(&exact));
    // Lists show the first digits of the digest; they are enough.
    let shown = exact.familiar();
    place.store.remove(&shown[..shown.len() - 52]).unwrap();
    assert!(place.store.resolve(&exact).is_none() && !image.layers[0].exists());

    // Once nothing has used it for a while it goes by itself.
    let place = Place::with(Limits {
        by_digest_kept: Duration::ZERO,
        ..Limits::default()
    });
    let pulled = place.store.pull(&exact, PullOptions::default()).await;
    let pin = place.store.pin(pulled.unwrap().manifest_digest, "task/1");
    place.store.gc().unwrap();
    assert!(place.store.resolve(&exact).is_some());
    drop(pin);
    place.store.gc().unwrap();
    place.assert_empty("nothing uses it");
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_that_lie() {
    let (manifest, config, layer) = image();
    let other = gzip(b"another layer");
    type Lie = fn(Answer, &str) -> Answer;
    let cases: Vec<(&str, &str, Lie)> = vec![
        ("a manifest as an index", "/manifests/", |(_, body), _| {
            full("application/vnd.oci.image.index.v1+json", &body)
        }),
        ("a manifest as text", "/manifests/", |(_, body), _| {
            full("text/html", &body)
        }),
        ("an endless manifest", "/manifests/", |_, _| {
            full(MANIFEST, &vec![b' '; 5 << 20])
        }),
        (
            "a flipped configuration",
            "/blobs/config",
            |(_, mut body), _| {
                body[3] ^= 1;
                full("x", &body)
            },
        ),
        ("another layer", "/blobs/layer", |_, _| {
            full("x", &[b'x'; 1000])
        }),
        ("a byte too many", "/blobs/layer", |(_, mut body), _| {
            body.push(0);
            full("x", &body)
        }),
        ("an error", "/manifests/", |_, _| {
            let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no \u001b[31m"}]}"#;
            (
                format!("404 Not Found\r\nContent-Length: {}", body.len()),
                body.to_vec(),
            )
        }),
        ("a redirect to a file", "/blobs/layer", |_, _| {
            (
                "307 x\r\nLocation: file:///etc/passwd\r\nContent-Length: 0".into(),
                Vec::new(),
            )
        }),
        ("redirects in circles", "/manifests/", |_, path| {
            (
                format!("307 x\r\nLocation: {path}\r\nContent-Length: 0"),
                Vec::new(),
            )
        }),
        ("an unknown challenge", "/manifests/", |_, _| {
            (
                "401 x\r\nWWW-Authenticate: Digest x\r\nContent-Length: 0".into(),
                Vec::new(),
            )
        }),
    ];
    drop(other);
    for (case, part, lie) in cases {
        let (manifest, config, layer) = (manifest.clone(), config.clone(), layer.clone());
        let fake = Fake::start(move |asked, _| {
            let (kind, answer) = if asked.path.contains("/manifests/") {
                ("/manifests/", full(MANIFEST, manifest.as_bytes()))
            } else if asked.path.ends_with(&digest(config.as_bytes())) {
                ("/blobs/config", full("x", config.as_bytes()))
            } else {
                ("/blobs/layer", full("x", &layer))
            };
            if kind == part {
                lie(answer, &asked.path)
            } else {
                answer
            }
        });
        let place = Place::new();
        let reference = name(&format!("127.0.0.1:{}/app:v1", fake.port));
        let error = place
            .store
            .pull(&reference, PullOptions::default())
            .await
            .expect_err(case);
        let text = error.detail();
        assert!(!text.contains('\x1b'), "{case}: {text}");
        assert!(place.store.list().is_empty(), "{case}");
        place.assert_empty(case);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_stay_with_their_registry() {
    let (manifest, config, layer) = image();
    let storage = Fake::start(move |_, _| full("x", &layer));
    let target = format!("http://127.0.0.1:{}/stored", storage.port);
    let fake = Fake::start(move |asked, _| {
        if !asked.headers.contains_key("authorization") {
            (
                "401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0".into(),
                Vec::new(),
            )
        } else if asked.path.contains("/manifests/") {
            full(MANIFEST, manifest.as_bytes())
        } else if asked.path.ends_with(&digest(config.as_bytes())) {
            full("x", config.as_bytes())
        } else {
            (
                format!("307 x\r\nLocation: {target}\r\nContent-Length: 0"),
                Vec::new(),
            )
        }
    });
    let place = Place::new();
    let reference = name(&format!("127.0.0.1:{}/app:v1", fake.port));
    let credentials = Credentials {
        username: "AWS".into(),
        password: "s3cret".into(),
    };
    let options = PullOptions {
        credentials: Some(credentials),
        ..PullOptions::default()
    };
    place.store.pull(&reference, options.clone()).await.unwrap();
    let stored = storage.asked("/stored");
    assert_eq!(stored.len(), 1);
    assert!(!stored[0].headers.contains_key("authorization"));
    // Without credentials: refused, and the refusal says why.
    let error = place
        .store
        .pull(&reference, PullOptions::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("access denied"), "{error}");
    // To a mirror they are not sent.
    let mirror =
        Mirrors::parse([format!("private.example=127.0.0.1:{}", fake.port).as_str()]).unwrap();
    let options = PullOptions {
        mirrors: mirror,
        ..options
    };
    let error = place
        .store
        .pull(&name("private.example/app:v1"), options)
        .await
        .unwrap_err();
    assert!(!error.detail().contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_or_hangs() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let place = Place::new();
    for port in [hanging.local_addr().unwrap().port(), closed] {
        let reference = name(&format!("127.0.0.1:{port}/app:v1"));
        let pull = place.store.pull(&reference, PullOptions::default());
        // Far beyond the deadline, to tell late from never.
        let error = tokio::time::timeout(Duration::from_secs(20), pull)
            .await
            .unwrap()
            .unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
        assert!(text.contains("windlass images load ARCHIVE"), "{text}");
    }
    let unknown = name("registry.invalid/app:v1");
    let error = place
        .store
        .pull(&unknown, PullOptions::default())
        .await
        .unwrap_err();
    assert!(
        error.is_unreachable() && error.to_string().contains("registry.invalid"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry() {
    let registry = RealRegistry::start();
    let place = Place::new();
    let layers = [
        gzip(
            &Tar::default()
                .file("usr/bin/a", "1")
                .symlink("bin", "usr/bin")
                .end(),
        ),
        gzip(
            &Tar::default()
                .file("bin/b", "2")
                .file("usr/bin/.wh.a", "")
                .end(),
        ),
    ];
    let archive = place.folder.path().join("app.tar");
    std::fs::write(&archive, docker_archive("app:v1", &layers)).unwrap();
    let address = format!("127.0.0.1:{}/team/app:v1", registry.port);
    registry.push(&archive, "team/app:v1", &["--dest-tls-verify=false"]);

    let pulled = place
        .store
        .pull(&name(&address), PullOptions::default())
        .await
        .unwrap();
    assert_eq!(pulled.config.cmd, ["run"]);
    assert_eq!(
        std::fs::read_to_string(pulled.layers[0].join("usr/bin/b")).unwrap(),
        "2"
    );
    let by_digest = name(&format!(
        "127.0.0.1:{}/team/app@{}",
        registry.port, pulled.manifest_digest
    ));
    assert_eq!(
        place.store.resolve(&by_digest).unwrap().layers,
        pulled.layers
    );
    place
        .store
        .pull(&by_digest, PullOptions::default())
        .await
        .unwrap();

    // By a host name: the client's own resolver finds it, without the C library's.
    let by_host = name(&format!("localhost:{}/team/app:v1", registry.port));
    let found = place
        .store
        .pull(&by_host, PullOptions::default())
        .await
        .unwrap();
    assert_eq!(found.layers, pulled.layers);

    // The layers are the same as when the archive is loaded.
    place
        .store
        .load_archive_file(&archive, &Default::default(), &|_| {})
        .unwrap();
    assert_eq!(
        place.store.resolve(&name("app:v1")).unwrap().layers,
        pulled.layers
    );

    // Through a mirror setting, under the name that the mirror stands for.
    let mirror = format!("registry.example=127.0.0.1:{}", registry.port);
    let mirrors = Mirrors::parse([mirror.as_str()]).unwrap();
    let options = PullOptions {
        mirrors,
        ..PullOptions::default()
    };
    let mirrored = place
        .store
        .pull(&name("registry.example/team/app:v1"), options)
        .await
        .unwrap();
    assert_eq!(mirrored.layers, pulled.layers);

    let missing = name(&format!("127.0.0.1:{}/team/app:none", registry.port));
    let error = place
        .store
        .pull(&missing, PullOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Registry { .. }) && error.to_string().contains("404"),
        "{error}"
    );
}
