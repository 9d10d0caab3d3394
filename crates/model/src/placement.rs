//! How a caller wants tasks spread, and why a node was refused.

use crate::id::InstanceId;
use crate::resources::HostPort;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PlacementConstraint {
    #[n(0)]
    DistinctInstance,
    /// In the cluster query language, as written.
    #[n(1)]
    MemberOf(#[n(0)] String),
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PlacementStrategy {
    #[n(0)]
    Random,
    #[n(1)]
    Spread(#[n(0)] SpreadField),
    #[n(2)]
    Binpack(#[n(0)] BinpackField),
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SpreadField {
    #[n(0)]
    InstanceId,
    /// `attribute:<name>`: the name.
    #[n(1)]
    Attribute(#[n(0)] String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum BinpackField {
    #[n(0)]
    Cpu,
    #[n(1)]
    Memory,
}

/// Why one instance cannot take one task. The API's words and `why`'s are rendered from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Refusal {
    #[n(0)]
    Cpu {
        #[n(0)]
        need: u64,
        #[n(1)]
        free: u64,
    },
    #[n(1)]
    Memory {
        #[n(0)]
        need: u64,
        #[n(1)]
        free: u64,
    },
    #[n(2)]
    Port(#[n(0)] HostPort),
    /// A required attribute it does not have.
    #[n(3)]
    Attribute(#[n(0)] String),
    /// A constraint it does not meet, as written.
    #[n(4)]
    Constraint(#[n(0)] String),
    #[n(5)]
    AgentDisconnected,
    #[n(6)]
    Draining,
    #[n(7)]
    Inactive,
    /// Something this release does not provide (`secrets`, `awsfirelens`, …).
    #[n(8)]
    Unsupported(#[n(0)] String),
    #[n(9)]
    Missing,
    /// Network interfaces, of which each has an address of the node's range.
    #[n(10)]
    Links {
        #[n(0)]
        need: u64,
        #[n(1)]
        free: u64,
    },
}

/// One instance's refusal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Refused {
    #[n(0)]
    pub instance: InstanceId,
    #[n(1)]
    pub refusal: Refusal,
}
