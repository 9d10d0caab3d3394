//! Who a signed call is from.

/// The principal of a verified call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) access_key: String,
    pub(crate) arn: String,
    /// Of the credential scope: what the caller signed for.
    pub(crate) region: String,
    pub(crate) service: String,
}
