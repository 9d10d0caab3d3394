//! Amounts of a node: what it has, what tasks hold, what is left.

use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Protocol {
    #[n(0)]
    Tcp,
    #[n(1)]
    Udp,
}

/// What a task needs, or a node has, or has left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Resources {
    /// 1024 are one processor.
    #[n(0)]
    pub cpu_units: u64,
    #[n(1)]
    pub memory_mib: u64,
    /// Static host ports held (of a node: reserved or in use).
    #[n(2)]
    pub ports: BTreeSet<HostPort>,
    /// Network interfaces: one a task in network mode awsvpc, one a container in bridge mode.
    #[n(3)]
    #[cbor(default)]
    pub links: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct HostPort {
    #[n(0)]
    pub protocol: Protocol,
    #[n(1)]
    pub port: u16,
}
