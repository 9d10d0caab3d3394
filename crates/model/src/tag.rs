//! Tags of any resource.

use minicbor::{Decode, Encode};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Tag {
    #[n(0)]
    pub key: String,
    #[n(1)]
    pub value: String,
}
