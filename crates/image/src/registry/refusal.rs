//! What a registry says with its errors.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use super::retry::{Again, retry_after};

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// `errors` as the specification has it; `details` alone is Docker Hub's.
#[derive(Deserialize)]
struct Problems {
    #[serde(default)]
    errors: Vec<Problem>,
    #[serde(default)]
    details: Option<String>,
}

/// Characters of a registry's own words that are repeated.
const SAID_CHARS_MAX: usize = 300;

/// An answer that says no: what it means, with the registry's own code and message.
pub(super) fn meaning(status: StatusCode, body: &[u8]) -> String {
    let said = said(body);
    let known = match status {
        StatusCode::NOT_FOUND => "there is no such image or tag",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => super::DENIED,
        StatusCode::TOO_MANY_REQUESTS => "it limits how often this machine may pull",
        _ => "it answered with an error",
    };
    match said {
        Some(said) => format!("{said} ({known}; HTTP {})", status.as_u16()),
        None => format!("{known} (HTTP {})", status.as_u16()),
    }
}

/// `manifest unknown: manifest unknown`, as container engines spell codes.
fn said(body: &[u8]) -> Option<String> {
    let problems: Problems = serde_json::from_slice(body).ok()?;
    let first = problems.errors.into_iter().next();
    let (code, message) = first.map_or((None, problems.details), |p| (p.code, p.message));
    let code = code.map(|code| code.to_ascii_lowercase().replace('_', " "));
    let parts: Vec<String> = [code, message]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .map(|part| part.escape_debug().to_string())
        .collect();
    let said: String = parts.join(": ").chars().take(SAID_CHARS_MAX).collect();
    (!said.is_empty()).then_some(said)
}

/// Whether another try may be answered otherwise.
pub(super) fn again(status: StatusCode, headers: &HeaderMap) -> Option<Again> {
    let passes = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
    ) || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED);
    let value = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    passes.then(|| retry_after(value))
}

/// How long a registry that is there may take.
pub(super) fn no_answer(within: Duration) -> String {
    format!("no answer within {:.1} s", within.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_quoted() {
        for (status, body, expected) in [
            (
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                "manifest unknown: manifest unknown (there is no such image or tag; HTTP 404)",
            ),
            (
                429,
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit"}]}"#,
                "toomanyrequests: You have reached your limit (it limits how often this machine \
                 may pull; HTTP 429)",
            ),
            (
                403,
                r#"{"errors":[{"code":"DENIED","message":null}]}"#,
                "denied (access denied; sign in with `windlass login HOST`; HTTP 403)",
            ),
            (500, "<html>", "it answered with an error (HTTP 500)"),
            (
                500,
                r#"{"details":"out"}"#,
                "out (it answered with an error; HTTP 500)",
            ),
            (
                404,
                r#"{"errors":[]}"#,
                "there is no such image or tag (HTTP 404)",
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(meaning(status, body.as_bytes()), expected);
        }
        let escape = "{\"errors\":[{\"code\":\"X\",\"message\":\"\\u001b[31m\"}]}";
        assert!(!meaning(StatusCode::NOT_FOUND, escape.as_bytes()).contains('\x1b'));
    }
}
