//! Registries that fail and come back, compress what nobody asked for, and answer oddly.

use std::time::Duration;

use windlass_image::{Error, PullOptions, Reference};

use crate::build::*;
use crate::stand_in::*;

fn tag(fake: &Fake) -> Reference {
    name(&format!("127.0.0.1:{}/app:v1", fake.port))
}

/// A registry of one image, whose answers may be replaced: given what is asked for, how often it
/// was asked for before, and the answer as it would be.
fn faulty(replace: impl Fn(&Asked, usize, Answer) -> Answer + Send + 'static) -> Fake {
    let (manifest, config, layer) = image();
    Fake::start(move |asked, before| {
        let answer = if asked.path.contains("/manifests/") {
            full(MANIFEST, manifest.as_bytes())
        } else if asked.path.ends_with(&digest(config.as_bytes())) {
            full("x", config.as_bytes())
        } else {
            full("x", &layer)
        };
        replace(asked, before, answer)
    })
}

fn status(line: &str, body: &str) -> Answer {
    let head = format!("{line}\r\nContent-Length: {}", body.len());
    (head, body.as_bytes().to_vec())
}

async fn pulled(fake: &Fake) -> Result<(), Error> {
    let place = Place::new();
    let pulled = place.store.pull(&tag(fake), PullOptions::default()).await;
    pulled.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_is_tried_again() {
    let fake = faulty(|asked, before, answer| match before {
        0 => status("503 Service Unavailable", ""),
        1 => status("429 Too Many Requests\r\nRetry-After: 1", ""),
        2 if asked.path.contains("/manifests/") => status("500 Oops", "<html>"),
        _ => answer,
    });
    pulled(&fake).await.unwrap();
    assert_eq!(fake.asked("/manifests/").len(), 4);
    assert_eq!(fake.asked("/blobs/").len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_told_with_the_registrys_words() {
    let limited =
        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit"}]}"#;
    let denied = r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#;
    for (line, body, tries, words) in [
        (
            "429 Too Many Requests\r\nRetry-After: 7200",
            limited,
            1,
            "has been retried 0 time(s): failed to resolve ref 127.0.0.1",
        ),
        (
            "429 Too Many Requests\r\nRetry-After: 7200",
            limited,
            1,
            "toomanyrequests: You have",
        ),
        (
            "403 Forbidden",
            denied,
            1,
            "denied: requested access is denied",
        ),
        (
            "503 Service Unavailable",
            "",
            9,
            "has been retried 8 time(s): failed to resolve ref",
        ),
    ] {
        let fake = faulty(move |_, _, _| status(line, body));
        let error = pulled(&fake).await.unwrap_err();
        let text = error.agent_text();
        assert!(text.contains(words), "{text}");
        assert!(text.contains("app:v1"), "{text}");
        assert_eq!(fake.asked("/manifests/").len(), tries, "{line}");
    }
}

/// Far more often than a download that brings nothing is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_as_long_as_it_brings_something() {
    let (_, _, layer) = image();
    let (layer_digest, parts) = (digest(&layer), 12);
    let fake = faulty(move |asked, _, answer| {
        if !asked.path.ends_with(&layer_digest) {
            return answer;
        }
        let from = asked.headers.get("range").map_or(0, |range| {
            let from = range.trim_start_matches("bytes=").trim_end_matches('-');
            from.parse::<usize>().unwrap()
        });
        let (total, end) = (layer.len(), (from + layer.len() / parts).min(layer.len()));
        let head = match from {
            0 => format!("200 OK\r\nContent-Length: {total}"),
            from => format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}\r\nContent-Length: {}",
                total - 1,
                total - from
            ),
        };
        (head, layer[from..end].to_vec())
    });
    pulled(&fake).await.unwrap();
    let (_, _, layer) = image();
    assert!(fake.asked(&digest(&layer)).len() >= parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compressed_on_the_way_is_what_it_was() {
    let wrapped = |(head, body): Answer| {
        let (head, _) = head.rsplit_once("\r\nContent-Length").unwrap();
        let body = gzip(&body);
        let head = format!(
            "{head}\r\nContent-Encoding: gzip\r\nContent-Length: {}",
            body.len()
        );
        (head, body)
    };
    let fake = faulty(move |_, _, answer| wrapped(answer));
    pulled(&fake).await.unwrap();
    assert_eq!(
        fake.asked("/blobs/")[0].headers["accept-encoding"],
        "identity"
    );
    // What only says that it is compressed is taken as it is.
    let fake = faulty(|_, _, (head, body)| (format!("{head}\r\nContent-Encoding: gzip"), body));
    pulled(&fake).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn token_servers_that_answer_oddly() {
    for (answer, good) in [
        (status("200 OK", r#"{"token":"","access_token":"t"}"#), true),
        (
            status(
                "200 OK\r\nContent-Type: text/html",
                r#"{"token":"t","x":1}"#,
            ),
            true,
        ),
        (
            status("200 OK", r#"{"token":null,"access_token":"t"}"#),
            true,
        ),
        (status("200 OK", r#"{"token":""}"#), false),
        (status("200 OK", "<html>"), false),
        (status("200 OK", r#"{"token":"a\u0000b"}"#), false),
        (status("204 No Content", ""), false),
        (status("307 x\r\nLocation: /token/2", ""), true),
        (
            status("307 x\r\nLocation: http://192.0.2.1/token", ""),
            false,
        ),
        (
            status(
                "401 x",
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"who"}]}"#,
            ),
            false,
        ),
    ] {
        let case = answer.0.clone();
        let fake = faulty(move |asked, _, usual| {
            if asked.path == "/token/2" {
                return status("200 OK", r#"{"token":"t"}"#);
            }
            if asked.path.starts_with("/token") {
                return answer.clone();
            }
            match asked.headers.get("authorization").map(String::as_str) {
                Some("Bearer t") => usual,
                _ => {
                    let realm = format!("http://{}/token", asked.headers["host"]);
                    let offered = format!(
                        "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: Basic realm=\"x\", \
                         Bearer realm=\"{realm}\",service=\"s\""
                    );
                    status(&format!("401 x\r\n{offered}"), "")
                }
            }
        });
        let pull = tokio::time::timeout(Duration::from_secs(60), pulled(&fake)).await;
        assert_eq!(pull.unwrap().is_ok(), good, "{case}");
        let asked = fake.asked("/token?");
        assert!(
            asked[0]
                .path
                .contains("service=s&scope=repository%3Aapp%3Apull"),
            "{asked:?}"
        );
    }
}
