//! Refusals before an operation is reached: what is judged first, and in which words each kind of
//! client is told.

use crate::served::{Answer, Served};
use windlass_api::limits;

const CREATE: &str = "AmazonEC2ContainerServiceV20141113.CreateCluster";
const REGISTER: &str = "AmazonEC2ContainerServiceV20141113.RegisterTaskDefinition";
const FORM: &str = "content-type: application/x-www-form-urlencoded";

/// A whole request with something in its head exchanged after it was signed.
fn changed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    assert!(head.contains(from), "{head}");
    [head.replace(from, to).as_bytes(), &bytes[end..]].concat()
}

/// Whoever has no key gets no room: the answer to a body that is too large says who was judged
/// first.
#[test]
fn the_head_is_judged_before_the_body() {
    let served = Served::new();
    let long = |bytes_max: usize| vec![b' '; bytes_max + 1];
    let create = || served.signed(CREATE, "ecs", &long(limits::REQUEST_BYTES_MAX));
    let today = jiff::Timestamp::now().strftime("%Y%m%d").to_string();
    let other_day = "20200101";
    for (what, request, status, code) in [
        ("all well", create(), 413, "RequestEntityTooLarge"),
        (
            "another key",
            changed(&create(), "AKIAEXAMPLE", "AKIAOTHER"),
            400,
            "UnrecognizedClientException",
        ),
        (
            "another time",
            changed(&create(), &today, other_day),
            400,
            "InvalidSignatureException",
        ),
        (
            "another service",
            changed(&create(), "/ecs/", "/logs/"),
            400,
            "UnknownOperationException",
        ),
        (
            "a signature that was changed",
            changed(&create(), "Signature=", "Signature=0"),
            413,
            "RequestEntityTooLarge",
        ),
        (
            "a definition, which may be longer",
            served.signed(REGISTER, "ecs", &long(limits::REQUEST_BYTES_MAX)),
            400,
            "ClientException",
        ),
        (
            "a definition that is too long even so",
            served.signed(REGISTER, "ecs", &long(limits::BODY_BYTES_MAX)),
            413,
            "RequestEntityTooLarge",
        ),
    ] {
        let answer = Answer::read(&mut served.write(&request));
        assert_eq!(
            answer.refusal(),
            (status, code),
            "{what}: {}",
            answer.text()
        );
    }
}

/// Who signed for a service that is not served speaks its protocol, and is told what is.
#[test]
fn every_client_reads_its_refusal() {
    let served = Served::new();
    let sts = |body: &[u8]| served.signed("", "sts", body);
    let of = |service: &str| changed(&sts(b"Action=X"), "/sts/", &format!("/{service}/"));
    let json = || served.signed(CREATE, "logs", b"{}");
    let create = || served.signed(CREATE, "ecs", b"{}");
    let unsigned = |content_type: &str| {
        let length = "content-length: 8\r\nconnection: close";
        let text =
            format!("POST / HTTP/1.1\r\nhost: x\r\n{content_type}\r\n{length}\r\n\r\nAction=X");
        text.into_bytes()
    };
    let elsewhere = |service: &str| {
        format!("This endpoint is Windlass, which serves ecs and sts, and not {service}.")
    };
    let mismatch = "The request signature we calculated does not match";
    for (what, request, status, code, says) in [
        (
            "sts, unsigned",
            unsigned(FORM),
            403,
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
             <Type>Sender</Type><Code>MissingAuthenticationToken</Code>",
            String::from("Missing Authentication Token"),
        ),
        (
            "sts, signed wrongly",
            changed(&sts(b"Action=X"), "Signature=", "Signature=0"),
            403,
            "<Type>Sender</Type><Code>SignatureDoesNotMatch</Code>",
            mismatch.into(),
        ),
        (
            "sts, another's key",
            changed(&sts(b"Action=X"), "AKIAEXAMPLE", "AKIAOTHER"),
            403,
            "<Type>Sender</Type><Code>InvalidClientTokenId</Code>",
            "The security token included in the request is invalid.".into(),
        ),
        (
            "sts, another action",
            sts(b"Action=AssumeRole"),
            400,
            "<Type>Sender</Type><Code>InvalidAction</Code>",
            "of STS, only GetCallerIdentity is.".into(),
        ),
        (
            "sts, no action",
            sts(b""),
            400,
            "<Type>Sender</Type><Code>MissingAction</Code>",
            "names no Action".into(),
        ),
        (
            "another query service",
            of("elasticloadbalancing"),
            400,
            "<Type>Sender</Type><Code>InvalidAction</Code>",
            elsewhere("elasticloadbalancing"),
        ),
        (
            "EC2",
            of("ec2"),
            400,
            "<Response><Errors><Error><Code>InvalidAction</Code>",
            elsewhere("ec2"),
        ),
        (
            "S3",
            of("s3"),
            400,
            "<Error><Code>InvalidAction</Code>",
            elsewhere("s3"),
        ),
        (
            "S3 with a key of AWS",
            changed(&of("s3"), "AKIAEXAMPLE", "AKIAOTHER"),
            400,
            "<Error><Code>InvalidAction</Code>",
            elsewhere("s3"),
        ),
        (
            "another region",
            changed(&create(), "/us-east-1/", "/eu-west-1/"),
            400,
            "{\"__type\":\"InvalidSignatureException\"",
            "this endpoint serves ecs in region us-east-1, not in region eu-west-1".into(),
        ),
        (
            "a JSON service",
            json(),
            400,
            "{\"__type\":\"UnknownOperationException\"",
            elsewhere("logs"),
        ),
        (
            "ECS, unsigned",
            unsigned("content-type: application/x-amz-json-1.1"),
            400,
            "{\"__type\":\"MissingAuthenticationTokenException\"",
            String::from("Missing Authentication Token"),
        ),
    ] {
        let answer = Answer::read(&mut served.write(&request));
        let text = answer.text();
        assert_eq!(answer.status, status, "{what}: {text}");
        assert!(
            text.starts_with(code) || text.contains(code),
            "{what}: {text}"
        );
        assert!(text.contains(&says), "{what}: {text}");
        let xml = answer.header("content-type") == Some("text/xml");
        assert_eq!(xml, code.contains("<Code>"), "{what}");
    }
}
