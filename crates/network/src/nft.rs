//! nftables over netlink: transactions of tables, chains, sets, rules and elements.
//!
//! No program and no text is between us and the kernel: a change of one port costs microseconds
//! instead of the milliseconds of a started `nft`, and no name can be read as a command. What the
//! rules are is `firewall`'s matter.

mod expression;
mod foreign;
mod transaction;

pub(crate) use expression::{Base, Expression, Key, Verdict};
pub(crate) use foreign::dropping_forward_chains;
pub(crate) use transaction::{Chain, Hook, Set, TableId, Transaction};

/// Subsystem of nftables, as the high byte of a message's type.
pub(crate) const SUBSYSTEM: u16 = 10 << 8;

/// Address family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableFamily {
    Ip = 2,
    Bridge = 7,
}

impl TableFamily {
    /// The families in which an installation has a table.
    pub(crate) const ALL: [Self; 2] = [Self::Ip, Self::Bridge];
}

/// Data types as `nft list` names them; the kernel only keeps the numbers.
pub(crate) mod datatype {
    pub(crate) const IPV4_ADDRESS: u32 = 7;
    pub(crate) const ETHER_ADDRESS: u32 = 9;
    pub(crate) const PROTOCOL: u32 = 12;
    pub(crate) const SERVICE: u32 = 13;
    pub(crate) const INTERFACE_NAME: u32 = 41;

    /// A concatenation: six bits for each part.
    pub(crate) const fn concat(parts: &[u32]) -> u32 {
        let mut all = 0;
        let mut i = 0;
        while i < parts.len() {
            all = all << 6 | parts[i];
            i += 1;
        }
        all
    }
}
