//! Access keys that come and go while the server runs.

use super::served::{Answer, Served};
use serde_json::json;

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
