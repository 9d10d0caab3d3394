//! What a tag leads to now, asked of its registry.

use std::net::TcpListener;
use std::time::Duration;

use windlass_image::{Error, LoadOptions, PullOptions, Reference, Store};

use crate::build::*;
use crate::stand_in::*;

/// Serves one image; whether its answers tell the digest in a header.
fn serving(tells: bool) -> (Fake, String) {
    let (manifest, config, layer) = image();
    let manifest_digest = digest(manifest.as_bytes());
    let told = manifest_digest.clone();
    let fake = Fake::start(move |asked, _| {
        if asked.path.contains("/manifests/") {
            let (head, body) = full(MANIFEST, manifest.as_bytes());
            match tells {
                true => (format!("{head}\r\nDocker-Content-Digest: {told}"), body),
                false => (head, body),
            }
        } else if asked.path.ends_with(&digest(config.as_bytes())) {
            full("x", config.as_bytes())
        } else {
            full("x", &layer)
        }
    });
    (fake, manifest_digest)
}

fn tag(fake: &Fake) -> Reference {
    name(&format!("127.0.0.1:{}/app:v1", fake.port))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_asked_for_by_its_digest_alone() {
    for (tells, methods) in [
        (true, vec!["GET", "HEAD"]),
        (false, vec!["GET", "HEAD", "GET"]),
    ] {
        let (fake, expected) = serving(tells);
        let place = Place::new();
        let reference = tag(&fake);
        let pulled = place.store.pull(&reference, PullOptions::default()).await;
        let pulled = pulled.unwrap();
        assert!(pulled.from_registry);
        let blobs = fake.asked("/blobs/").len();
        let asked = place.store.ask_digest(&reference, PullOptions::default());
        assert_eq!(asked.await.unwrap(), pulled.digest());
        assert_eq!(pulled.digest().to_string(), expected);
        let manifests = fake.asked("/manifests/");
        let seen: Vec<&str> = manifests.iter().map(|a| a.method.as_str()).collect();
        assert_eq!(seen, methods);
        assert_eq!(fake.asked("/blobs/").len(), blobs);
        // It is known after a restart too.
        let Place { folder, store } = place;
        drop(store);
        let store = Store::open(&folder.path().join("store")).unwrap();
        assert!(store.resolve(&reference).unwrap().from_registry);
        let exact = reference.with_digest(pulled.digest());
        assert!(!store.resolve(&exact).unwrap().from_registry);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_questions_are_one() {
    let (manifest, _, _) = image();
    let told = digest(manifest.as_bytes());
    let fake = Fake::start(move |_, _| {
        std::thread::sleep(Duration::from_millis(300));
        (
            format!("200 OK\r\nDocker-Content-Digest: {told}"),
            Vec::new(),
        )
    });
    let place = Place::new();
    let reference = tag(&fake);
    let asked = || place.store.ask_digest(&reference, PullOptions::default());
    let (one, two, three) = tokio::join!(asked(), asked(), asked());
    assert_eq!(one.unwrap(), two.unwrap());
    three.unwrap();
    assert_eq!(fake.asked("/manifests/").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_name_is_of_no_registry() {
    let place = Place::new();
    let archive = place.folder.path().join("app.tar");
    let layers = [gzip(&Tar::default().file("a", "1").end())];
    std::fs::write(&archive, docker_archive("app:v1", &layers)).unwrap();
    let loaded = place
        .store
        .load_archive_file(&archive, &LoadOptions::default(), &|_| {});
    loaded.unwrap();
    assert!(!place.store.resolve(&name("app:v1")).unwrap().from_registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_registry_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let place = Place::new();
    let reference = name(&format!("127.0.0.1:{port}/app:v1"));
    let asked = place.store.ask_digest(&reference, PullOptions::default());
    // Far beyond the deadline, to tell late from never.
    let error = tokio::time::timeout(Duration::from_secs(20), asked).await;
    let error = error.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("within 2.0 s"), "{error}");
}
