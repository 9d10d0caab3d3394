//! Signatures made by an independent implementation verify; every mutation of them does not.

use super::*;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use std::time::{Duration, UNIX_EPOCH};

const NOW: i64 = 1_732_000_000;

fn key(token: Option<&str>) -> AccessKey {
    AccessKey {
        id: "AKIAEXAMPLE".into(),
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session_token: token.map(str::to_owned),
        user: "admin".into(),
        created_ms: None,
        imported: false,
    }
}

/// A request signed by the AWS SDK's own signer.
fn signed(uri: &str, body: &[u8], token: Option<&str>, at_s: i64) -> Parts {
    let credentials = aws_credential_types::Credentials::new(
        key(token).id,
        key(token).secret,
        token.map(str::to_owned),
        None,
        "test",
    )
    .into();
    let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(at_s).unwrap());
    let mut settings = SigningSettings::default();
    settings.excluded_headers = None;
    let parameters = v4::SigningParams::builder()
        .identity(&credentials)
        .region("us-east-1")
        .name("ecs")
        .time(at)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        (
            "x-amz-target",
            "AmazonEC2ContainerServiceV20141113.ListClusters",
        ),
        ("folded", "a   b"),
    ];
    let request =
        SignableRequest::new("POST", uri, headers.into_iter(), SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
    let mut request = http::Request::builder().method("POST").uri(uri);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request = request.header("host", "127.0.0.1:7070");
    let mut request = request.body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    request.into_parts().0
}

fn verify(parts: &Parts, body: &[u8], token: Option<&str>, now: i64) -> Result<(), Deny> {
    let claim = Claim::parse(&parts.headers)?;
    claim.check_head(parts, &key(token), now)?;
    claim.check_signature(parts, Body::Bytes(body), &key(token))
}

const URI: &str = "http://127.0.0.1:7070/";

#[test]
fn the_sdks_signatures_verify() {
    for uri in [
        URI,
        "http://127.0.0.1:7070/?b=2&a=1&a=&c=%20x",
        "http://127.0.0.1:7070/tags/arn%3Aaws",
    ] {
        assert_eq!(
            verify(&signed(uri, b"{}", None, NOW), b"{}", None, NOW),
            Ok(()),
            "{uri}"
        );
    }
    let with_token = signed(URI, b"{}", Some("token"), NOW);
    assert_eq!(verify(&with_token, b"{}", Some("token"), NOW), Ok(()));
}

#[test]
fn what_was_changed_after_signing_is_refused() {
    let good = || signed(URI, b"{}", None, NOW);
    assert_eq!(verify(&good(), b"{} ", None, NOW), Err(Deny::Mismatch));
    let mut swapped = good();
    swapped.headers.insert(
        "x-amz-target",
        "AmazonEC2ContainerServiceV20141113.DeleteCluster"
            .parse()
            .unwrap(),
    );
    assert_eq!(verify(&swapped, b"{}", None, NOW), Err(Deny::Mismatch));
    let mut added = good();
    added
        .headers
        .insert("x-amz-something", "else".parse().unwrap());
    assert_eq!(verify(&added, b"{}", None, NOW), Err(Deny::Mismatch));
    let mut unsigned = good();
    unsigned
        .headers
        .insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
    assert_eq!(verify(&unsigned, b"{}", None, NOW), Err(Deny::Mismatch));
    let mut other_method = good();
    other_method.method = http::Method::GET;
    assert_eq!(verify(&other_method, b"{}", None, NOW), Err(Deny::Mismatch));
    let mut twice = good();
    let authorization = twice.headers["authorization"].clone();
    twice.headers.append("authorization", authorization);
    assert!(matches!(
        verify(&twice, b"{}", None, NOW),
        Err(Deny::Incomplete(_))
    ));
}

#[test]
fn tokens_must_match_exactly() {
    let plain = signed(URI, b"{}", None, NOW);
    assert_eq!(
        verify(&plain, b"{}", Some("token"), NOW),
        Err(Deny::BadToken)
    );
    let with_token = signed(URI, b"{}", Some("token"), NOW);
    assert_eq!(verify(&with_token, b"{}", None, NOW), Err(Deny::BadToken));
    assert_eq!(
        verify(&with_token, b"{}", Some("other"), NOW),
        Err(Deny::BadToken)
    );
}

#[test]
fn clocks_may_differ_by_five_minutes() {
    let parts = signed(URI, b"{}", None, NOW);
    for (skew, expected) in [
        (-200, Ok(())),
        (200, Ok(())),
        (400, Err(Deny::Skewed)),
        (-400, Err(Deny::Skewed)),
    ] {
        assert_eq!(verify(&parts, b"{}", None, NOW + skew), expected, "{skew}");
    }
}

#[test]
fn unknown_keys_and_malformed_headers_are_refused() {
    let parts = signed(URI, b"{}", None, NOW);
    let claim = Claim::parse(&parts.headers).unwrap();
    let mut other = key(None);
    other.secret.push('x');
    assert_eq!(
        claim.check_signature(&parts, Body::Bytes(b"{}"), &other),
        Err(Deny::Mismatch)
    );
    for bad in [
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256 Credential=a/b,SignedHeaders=host,Signature=x",
        "AWS4-HMAC-SHA256 Credential=a/20241119/us-east-1/ecs/aws4_request,SignedHeaders=host",
    ] {
        let mut headers = parts.headers.clone();
        headers.insert("authorization", bad.parse().unwrap());
        assert!(
            matches!(Claim::parse(&headers), Err(Deny::Incomplete(_))),
            "{bad:?}"
        );
    }
    assert!(matches!(
        Claim::parse(&HeaderMap::new()),
        Err(Deny::Missing)
    ));
}
