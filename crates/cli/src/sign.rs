//! AWS Signature Version 4, header form, as the server verifies it: every header that is sent is
//! signed. Source: AWS General Reference, "Signature Version 4".

use crate::client::Keys;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What a signature covers. The path needs no further encoding, and there is no query.
pub(crate) struct Signable<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Names in lower case, with `host` and `x-amz-date` among them; values without spaces at
    /// their ends.
    pub(crate) headers: &'a BTreeMap<&'static str, String>,
    /// SHA-256 of the body, in hexadecimal.
    pub(crate) body_digest: &'a str,
}

/// Whose signature it is, and for what.
pub(crate) struct Scope<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    /// `YYYYMMDD'T'HHMMSS'Z'`, as in the header `x-amz-date`.
    pub(crate) date: &'a str,
}

/// The value of the `Authorization` header.
pub(crate) fn authorization(request: &Signable<'_>, scope: &Scope<'_>) -> String {
    let names: Vec<&str> = request.headers.keys().copied().collect();
    let names = names.join(";");
    let lines = request.headers.iter();
    let lines: String = lines
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let canonical = format!(
        "{}\n{}\n\n{lines}\n{names}\n{}",
        request.method, request.path, request.body_digest
    );
    let day = scope.date.get(..8).unwrap_or(scope.date);
    let claim = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!(
        "AWS4-HMAC-SHA256\n{}\n{claim}\n{}",
        scope.date,
        digest(canonical.as_bytes())
    );
    let key = signing_key(
        &scope.keys.secret_access_key,
        day,
        scope.region,
        scope.service,
    );
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{claim}, SignedHeaders={names}, Signature={}",
        scope.keys.access_key_id,
        hex::encode(mac(&key, text.as_bytes()))
    )
}

/// SHA-256 in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn signing_key(secret: &str, day: &str, region: &str, service: &str) -> [u8; 32] {
    let mut key = mac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    for part in [region, service, "aws4_request"] {
        key = mac(&key, part.as_bytes());
    }
    key
}

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// The example of the AWS General Reference, "Deriving a signing key".
    #[test]
    fn the_signing_key_is_aws_example() {
        let key = signing_key(SECRET, "20150830", "us-east-1", "iam");
        let expected = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9";
        assert_eq!(hex::encode(key), expected);
    }

    /// Cases of the Signature Version 4 test suite that AWS publishes.
    #[test]
    fn the_test_suites_signatures_are_made() {
        let form = "application/x-www-form-urlencoded";
        let table = [
            (
                "GET",
                None,
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                None,
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "POST",
                Some(form),
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        let keys = Keys {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: SECRET.into(),
            session_token: None,
        };
        for (method, content_type, body, signature) in table {
            let date = "20150830T123600Z";
            let mut headers = BTreeMap::from([
                ("host", "example.amazonaws.com".to_owned()),
                ("x-amz-date", date.to_owned()),
            ]);
            if let Some(content_type) = content_type {
                headers.insert("content-type", content_type.to_owned());
            }
            let request = Signable {
                method,
                path: "/",
                headers: &headers,
                body_digest: &digest(body.as_bytes()),
            };
            let scope = Scope {
                keys: &keys,
                region: "us-east-1",
                service: "service",
                date,
            };
            let made = authorization(&request, &scope);
            let claim =
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ";
            assert!(made.starts_with(claim), "{made}");
            assert!(
                made.ends_with(&format!("Signature={signature}")),
                "{method}: {made}"
            );
        }
    }
}
