//! Page tokens: opaque to callers, authenticated, bound to the caller and the query, and good
//! across restarts, since the key is the installation's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use windlass_model::command::Page;
use windlass_wire::ApiError;

/// Makes and reads tokens of one installation.
#[derive(Clone)]
pub(crate) struct PageTokens {
    key: [u8; 32],
}

/// What a token belongs to: it is refused with any other.
pub(crate) struct Query<'a> {
    pub(crate) caller: &'a str,
    /// The operation's name and its filters.
    pub(crate) what: String,
}

const MAC_BYTES: usize = 16;

impl PageTokens {
    pub(crate) fn new(key: [u8; 32]) -> PageTokens {
        PageTokens { key }
    }

    /// The page that a request asks for.
    ///
    /// # Errors
    /// `InvalidParameterException` for a size out of range or a token that is not ours.
    pub(crate) fn page(
        &self,
        query: &Query<'_>,
        max_results: Option<i32>,
        token: Option<&str>,
    ) -> Result<Page, ApiError> {
        let limit = match max_results {
            None => crate::limits::PAGE_MAX,
            Some(given) => usize::try_from(given)
                .ok()
                .filter(|given| (1..=crate::limits::PAGE_MAX).contains(given))
                .ok_or_else(|| {
                    ApiError::invalid_parameter(format!(
                        "maxResults should be between 1 and {}.",
                        crate::limits::PAGE_MAX
                    ))
                })?,
        };
        let after = token
            .filter(|token| !token.is_empty())
            .map(|token| {
                self.read(query, token)
                    .ok_or_else(|| ApiError::invalid_parameter("Invalid token."))
            })
            .transpose()?;
        Ok(Page { after, limit })
    }

    /// The token of the page after `last`.
    pub(crate) fn token(&self, query: &Query<'_>, last: &str) -> String {
        let mut bytes = self.mac(query, last).to_vec();
        bytes.extend(last.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(&self, query: &Query<'_>, token: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (mac, last) = bytes.split_at_checked(MAC_BYTES)?;
        let last = std::str::from_utf8(last).ok()?;
        let expected = self.mac(query, last);
        bool::from(subtle::ConstantTimeEq::ct_eq(&expected[..], mac)).then(|| last.to_owned())
    }

    fn mac(&self, query: &Query<'_>, last: &str) -> [u8; MAC_BYTES] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        for part in [query.caller, &query.what, last] {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut short = [0; MAC_BYTES];
        short.copy_from_slice(&whole[..MAC_BYTES]);
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_bound_to_caller_and_query() {
        let tokens = PageTokens::new([7; 32]);
        let query = |caller, what: &str| Query {
            caller,
            what: what.into(),
        };
        let token = tokens.token(&query("alice", "ListTasks"), "web:3");
        let page = tokens
            .page(&query("alice", "ListTasks"), Some(5), Some(&token))
            .unwrap();
        assert_eq!(
            page,
            Page {
                after: Some("web:3".into()),
                limit: 5
            }
        );
        // The same key after a restart reads the same token.
        assert!(
            PageTokens::new([7; 32])
                .page(&query("alice", "ListTasks"), None, Some(&token))
                .is_ok()
        );
        let mut edited = token.clone().into_bytes();
        let last = edited.len() - 1;
        edited[last] ^= 1;
        let edited = String::from_utf8(edited).unwrap();
        for (caller, what, token) in [
            ("bob", "ListTasks", token.as_str()),
            ("alice", "ListClusters", &token),
            ("alice", "ListTasks", &edited),
            ("alice", "ListTasks", "!"),
            ("alice", "ListTasks", "aaaa"),
        ] {
            let refused = tokens
                .page(&query(caller, what), None, Some(token))
                .unwrap_err();
            assert_eq!(refused.message, "Invalid token.", "{caller} {what} {token}");
        }
        assert!(tokens.page(&query("a", "b"), Some(0), None).is_err());
        assert!(tokens.page(&query("a", "b"), Some(101), None).is_err());
        assert!(tokens.page(&query("a", "b"), None, Some("")).is_ok());
    }
}
