//! Access keys that come and go while the server runs.

use super::served::{Answer, Served};
use serde_json::json;
use std::io::{Read, Write};

const LIST: &str = "AmazonEC2ContainerServiceV20141113.ListClusters";

fn answers(served: &Served, id: &str, secret: &str) -> u16 {
    let request = served.signed_by((id, secret), LIST, "ecs", b"{}");
    Answer::read(&mut served.write(&request)).status
}

#[test]
fn a_second_person_has_a_key_until_it_is_removed() {
    let served = Served::new();
    let made = served.own("CreateKey", json!({ "name": "alice" }))["key"].clone();
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    let (id, secret) = (text("accessKeyId"), text("secretAccessKey"));
    assert_eq!(answers(&served, &id, &secret), 200);
    // She is who she is, also in what she does.
    let who = served.signed_by((&id, &secret), "", "sts", b"Action=GetCallerIdentity");
    let who = Answer::read(&mut served.write(&who)).text();
    assert!(
        who.contains("arn:aws:iam::000000000000:user/alice"),
        "{who}"
    );
    let listed = served.own("ListKeys", json!({})).to_string();
    assert!(
        listed.contains(&id) && !listed.contains(&secret),
        "{listed}"
    );
    let taken = served.call_own("CreateKey", json!({ "name": "alice" }));
    assert_eq!(taken.refusal(), (400, "InvalidParameterException"));
    served.own("RemoveKey", json!({ "key": "alice" }));
    assert_eq!(answers(&served, &id, &secret), 400);
    let gone = served.call_own("RemoveKey", json!({ "key": "alice" }));
    assert_eq!(gone.refusal(), (400, "ResourceNotFoundException"));
    let last = served.call_own("RemoveKey", json!({ "key": "AKIAEXAMPLE" }));
    assert_eq!(last.refusal(), (400, "InvalidParameterException"));
    assert!(last.text().contains("nobody could call any more"));
}

#[test]
fn a_key_of_aws_calls_here_too() {
    let served = Served::new();
    let (id, secret) = ("AKIAIOSFODNN7EXAMPLE", "aSecretOfTheirOwn");
    assert_eq!(answers(&served, id, secret), 400);
    let key = json!({ "name": "bob", "accessKeyId": id, "secretAccessKey": secret });
    let imported = served.own("ImportKey", key);
    assert_eq!(imported["key"]["imported"], true);
    assert!(!imported.to_string().contains(secret));
    assert_eq!(answers(&served, id, secret), 200);
    let bad = json!({ "name": "x y", "accessKeyId": id, "secretAccessKey": secret });
    let bad = served.call_own("ImportKey", bad);
    assert_eq!(bad.refusal(), (400, "InvalidParameterException"));
    assert!(!bad.text().contains(secret));
}

/// The id and secret of a key that may be removed.
fn second_key(served: &Served) -> (String, String) {
    let made = served.own("CreateKey", json!({ "name": "alice" }));
    let text = |member: &str| made["key"][member].as_str().unwrap().to_owned();
    (text("accessKeyId"), text("secretAccessKey"))
}

#[test]
fn a_log_that_is_followed_ends_with_its_key() {
    let served = Served::new();
    let (id, secret) = second_key(&served);
    let follow = json!({ "task": "0123456789abcdef0123456789abcdef", "follow": true });
    let follow = follow.to_string();
    let request = served.signed_by((&id, &secret), "Windlass.GetLogs", "ecs", follow.as_bytes());
    let mut logs = served.write(&request);
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("two") {
        let mut piece = [0; 1_024];
        let length = logs.read(&mut piece).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&piece[..length]);
    }
    served.own("RemoveKey", json!({ "key": "alice" }));
    // Cut, and not as if the task had said all.
    let _ = logs.read_to_end(&mut seen);
    assert!(!seen.ends_with(b"0\r\n\r\n"));
}

#[test]
fn an_upload_ends_with_its_key() {
    let served = Served::new();
    let (id, secret) = second_key(&served);
    let body = [b'x'; 100_000];
    let whole = served.signed_by((&id, &secret), "Windlass.LoadImage", "ecs", &body);
    let mut upload = served.write(&whole[..whole.len() - 1]);
    while served.machine.uploads() == 0 {
        std::thread::yield_now();
    }
    served.own("RemoveKey", json!({ "key": "alice" }));
    while served.machine.uploads() > 0 {
        std::thread::yield_now();
    }
    // The rest of a refused body is read, for the sake of the answer.
    upload.write_all(b"x").unwrap();
    let refused = Answer::read(&mut upload);
    assert_eq!(refused.refusal(), (400, "UnrecognizedClientException"));
    assert!(served.machine.loaded().is_empty());
}
