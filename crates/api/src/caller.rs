//! Access keys, and who a signed call is from.

use std::collections::BTreeMap;
use std::fmt;

/// A key that may call. The secret is never shown: there is no `Debug` or `Display` of it.
#[derive(Clone)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
    /// Present for temporary keys.
    pub session_token: Option<String>,
    /// The principal's name, as in its ARN after `user/`.
    pub user: String,
}

/// Every key that may call.
#[derive(Clone, Default)]
pub struct Keys {
    by_id: BTreeMap<String, AccessKey>,
}

impl Keys {
    pub fn new(keys: impl IntoIterator<Item = AccessKey>) -> Keys {
        Keys {
            by_id: keys.into_iter().map(|key| (key.id.clone(), key)).collect(),
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<&AccessKey> {
        self.by_id.get(id)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} access keys", self.by_id.len())
    }
}

/// The principal of a verified call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) access_key: String,
    pub(crate) arn: String,
    /// Of the credential scope: what the caller signed for.
    pub(crate) region: String,
    pub(crate) service: String,
}
