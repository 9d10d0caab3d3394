//! AWS Signature Version 4, header form: the one verifier, before any routing.
//!
//! The request is canonicalised once from the raw bytes. Exactly the signed headers that the client
//! names are hashed; `host`, `x-amz-date` and every other `x-amz-*` header must be among them, so
//! that none can be swapped on the way. Source: AWS General Reference, "Signature Version 4".

use crate::keys::AccessKey;
use crate::limits;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use subtle::ConstantTimeEq;

/// Why a request is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deny {
    /// No signature at all.
    Missing,
    /// A signature that lacks a part; says which.
    Incomplete(&'static str),
    UnknownKey,
    BadToken,
    Skewed,
    Mismatch,
}

/// What the `Authorization` header claims; nothing of it is believed before
/// [`Claim::check_signature`].
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    day: &'a str,
    scope: &'a str,
    signed: &'a str,
    signature: &'a str,
    date: &'a str,
    at_s: i64,
}

/// The digest of a body: computed, or declared by a client that streams it, whose bytes are then
/// held against it.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    Bytes(&'a [u8]),
    Declared,
}

impl<'a> Claim<'a> {
    pub(crate) fn parse(headers: &'a HeaderMap) -> Result<Claim<'a>, Deny> {
        if headers.get_all("authorization").iter().count() > 1 {
            return Err(Deny::Incomplete("more than one 'Authorization' header"));
        }
        let header = headers.get("authorization").ok_or(Deny::Missing)?;
        let header = header
            .to_str()
            .map_err(|_| Deny::Incomplete("'Authorization' is no text"))?;
        let fields = header
            .strip_prefix("AWS4-HMAC-SHA256 ")
            .ok_or(Deny::Incomplete(
                "'Authorization' is not of type AWS4-HMAC-SHA256",
            ))?;
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let slot = match field.trim().split_once('=') {
                Some(("Credential", value)) => credential.replace(value),
                Some(("SignedHeaders", value)) => signed.replace(value),
                Some(("Signature", value)) => signature.replace(value),
                _ => return Err(Deny::Incomplete("'Authorization' has an unknown part")),
            };
            if slot.is_some() {
                return Err(Deny::Incomplete("'Authorization' has a part twice"));
            }
        }
        let credential = credential.ok_or(Deny::Incomplete(
            "Authorization header requires 'Credential' parameter.",
        ))?;
        let signed = signed.ok_or(Deny::Incomplete(
            "Authorization header requires 'SignedHeaders' parameter.",
        ))?;
        let signature = signature.ok_or(Deny::Incomplete(
            "Authorization header requires 'Signature' parameter.",
        ))?;
        let malformed =
            Deny::Incomplete("'Credential' is not KEY/DATE/REGION/SERVICE/aws4_request");
        let (access_key, scope) = credential.split_once('/').ok_or(malformed)?;
        let parts: Vec<&str> = scope.split('/').collect();
        let [day, region, service, "aws4_request"] = parts[..] else {
            return Err(malformed);
        };
        let date = single(headers, "x-amz-date")?
            .ok_or(Deny::Incomplete("the 'X-Amz-Date' header is absent"))?;
        if day.len() != 8 || !date.starts_with(day) {
            return Err(Deny::Incomplete(
                "'X-Amz-Date' and the credential's date differ",
            ));
        }
        let at_s =
            seconds(date).ok_or(Deny::Incomplete("'X-Amz-Date' is not YYYYMMDD'T'HHMMSS'Z'"))?;
        Ok(Claim {
            access_key,
            region,
            service,
            day,
            scope,
            signed,
            signature,
            date,
            at_s,
        })
    }

    /// What can be judged before the body is there: that the head means one thing, the session
    /// token, and the time. `now_s` is in seconds since the epoch.
    pub(crate) fn check_head(
        &self,
        parts: &Parts,
        key: &AccessKey,
        now_s: i64,
    ) -> Result<(), Deny> {
        refuse_ambiguity(parts)?;
        let token = single(&parts.headers, "x-amz-security-token")?;
        match (&key.session_token, token) {
            (None, None) => {}
            (Some(expected), Some(given)) if same(expected, given) => {}
            _ => return Err(Deny::BadToken),
        }
        if (now_s - self.at_s).abs() > limits::CLOCK_SKEW_S {
            return Err(Deny::Skewed);
        }
        Ok(())
    }

    /// Holds the signature against the key. The head was checked.
    pub(crate) fn check_signature(
        &self,
        parts: &Parts,
        body: Body<'_>,
        key: &AccessKey,
    ) -> Result<(), Deny> {
        let canonical = self.canonical_request(parts, body)?;
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.date,
            self.scope,
            hex::encode(Sha256::digest(canonical))
        );
        let signing_key = signing_key(&key.secret, self.day, self.region, self.service);
        if !same(
            &hex::encode(mac(&signing_key, text.as_bytes())),
            self.signature,
        ) {
            return Err(Deny::Mismatch);
        }
        Ok(())
    }

    fn canonical_request(&self, parts: &Parts, body: Body<'_>) -> Result<String, Deny> {
        let mut text = String::with_capacity(1_024);
        text.push_str(parts.method.as_str());
        text.push('\n');
        // The path as sent, encoded once more: it is never decoded first.
        uri_encode(parts.uri.path().as_bytes(), true, &mut text);
        text.push('\n');
        canonical_query(parts.uri.query().unwrap_or(""), &mut text);
        text.push('\n');
        self.canonical_headers(parts, &mut text)?;
        text.push('\n');
        text.push_str(self.signed);
        text.push('\n');
        text.push_str(&self.body_digest(&parts.headers, body)?);
        Ok(text)
    }

    fn canonical_headers(&self, parts: &Parts, text: &mut String) -> Result<(), Deny> {
        let mut previous = "";
        for name in self.signed.split(';') {
            if name <= previous || name.bytes().any(|b| b.is_ascii_uppercase()) {
                return Err(Deny::Incomplete(
                    "'SignedHeaders' are not sorted lower-case names",
                ));
            }
            previous = name;
            text.push_str(name);
            text.push(':');
            if name == "host" && !parts.headers.contains_key("host") {
                // HTTP/2 has the authority instead.
                let authority = parts.uri.authority().ok_or(Deny::Incomplete("no host"))?;
                text.push_str(authority.as_str());
            } else {
                header_values(&parts.headers, name, text)?;
            }
            text.push('\n');
        }
        let is_signed = |name: &str| self.signed.split(';').any(|signed| signed == name);
        if !is_signed("host") {
            return Err(Deny::Incomplete("'Host' is not signed"));
        }
        let names = parts.headers.keys().map(|name| name.as_str());
        let swappable = |name: &str| name.starts_with("x-amz-") && !is_signed(name);
        // The user agent's own header is added by some clients after signing.
        if names
            .filter(|name| *name != "x-amz-user-agent")
            .any(swappable)
        {
            return Err(Deny::Mismatch);
        }
        Ok(())
    }

    fn body_digest(&self, headers: &HeaderMap, body: Body<'_>) -> Result<String, Deny> {
        let declared = single(headers, "x-amz-content-sha256")?;
        match body {
            Body::Declared => declared
                .filter(|digest| {
                    digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())
                })
                .map(str::to_owned)
                .ok_or(Deny::Incomplete(
                    "a streamed body needs 'X-Amz-Content-Sha256'",
                )),
            Body::Bytes(bytes) => {
                let digest = hex::encode(Sha256::digest(bytes));
                // UNSIGNED-PAYLOAD and the streaming modes are not for these services.
                if declared.is_some_and(|declared| declared != digest) {
                    return Err(Deny::Mismatch);
                }
                Ok(digest)
            }
        }
    }
}

/// The key that a request's signature is made with.
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

fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// What the verifier and a handler, or a proxy before them, might read differently: a header that
/// decides something and stands twice, and credentials in the query beside those in the header.
fn refuse_ambiguity(parts: &Parts) -> Result<(), Deny> {
    for name in parts.headers.keys() {
        let decides = name.as_str().starts_with("x-amz-")
            || [
                http::header::HOST,
                http::header::AUTHORIZATION,
                http::header::CONTENT_TYPE,
            ]
            .contains(name);
        if decides && parts.headers.get_all(name).iter().nth(1).is_some() {
            return Err(Deny::Incomplete("a security header is there twice"));
        }
    }
    let names = parts.uri.query().unwrap_or("").split('&');
    let mut names = names.filter_map(|pair| pair.split('=').next());
    let is_credential = |name: &str| {
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(name).collect();
        decoded
            .get(..6)
            .is_some_and(|head| head.eq_ignore_ascii_case(b"x-amz-"))
    };
    if names.any(is_credential) {
        return Err(Deny::Incomplete(
            "a signature in the query is not accepted: sign by the 'Authorization' header",
        ));
    }
    Ok(())
}

/// A header that may be there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Deny> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Deny::Incomplete("a security header is there twice"));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| Deny::Incomplete("a security header is no text"))
}

fn header_values(headers: &HeaderMap, name: &str, text: &mut String) -> Result<(), Deny> {
    let mut first = true;
    for value in headers.get_all(name) {
        if !first {
            text.push(',');
        }
        first = false;
        let value = value
            .to_str()
            .map_err(|_| Deny::Incomplete("a signed header is no text"))?;
        for (at, word) in value.split_ascii_whitespace().enumerate() {
            if at > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
    if first {
        return Err(Deny::Incomplete("a signed header is absent"));
    }
    Ok(())
}

fn canonical_query(query: &str, text: &mut String) {
    let encode = |part: &str| {
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(part).collect();
        let mut encoded = String::new();
        uri_encode(&decoded, false, &mut encoded);
        encoded
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
}

fn uri_encode(bytes: &[u8], keep_slash: bool, text: &mut String) {
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            b'/' if keep_slash => text.push('/'),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
}

fn seconds(date: &str) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    Some(
        time.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second(),
    )
}

#[cfg(test)]
mod tests;
