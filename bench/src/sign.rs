//! AWS Signature Version 4 of the bench's own requests, written apart from the product's so that
//! neither can hide the other's mistake.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const REGION: &str = "us-east-1";
const SERVICE: &str = "ecs";

/// The access key of an installation.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// Headers of a signed request: names and values.
pub(crate) fn headers(
    key: &Key,
    host: &str,
    target: &str,
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let date = jiff::Timestamp::now()
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    let day = &date[..8];
    let digest = hex::encode(Sha256::digest(body));
    let signed = "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target";
    let canonical = format!(
        "POST\n/\n\ncontent-type:application/x-amz-json-1.1\nhost:{host}\n\
         x-amz-content-sha256:{digest}\nx-amz-date:{date}\nx-amz-target:{target}\n\n{signed}\n{digest}"
    );
    let scope = format!("{day}/{REGION}/{SERVICE}/aws4_request");
    let canonical = hex::encode(Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{canonical}");
    let first = format!("AWS4{}", key.secret);
    let signing = [day, REGION, SERVICE, "aws4_request"]
        .iter()
        .fold(first.into_bytes(), |key, part| mac(&key, part.as_bytes()));
    let signature = hex::encode(mac(&signing, text.as_bytes()));
    vec![
        ("content-type", "application/x-amz-json-1.1".into()),
        ("host", host.into()),
        ("x-amz-content-sha256", digest),
        ("x-amz-date", date.clone()),
        ("x-amz-target", target.into()),
        (
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, \
                 Signature={signature}",
                key.id
            ),
        ),
    ]
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // Any length makes a key.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
