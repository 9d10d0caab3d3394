//! The kernel's netlink protocol: a checked encoder, a decoder and a socket.
//!
//! Both halves of this crate speak it: links and addresses over `NETLINK_ROUTE`, firewall and
//! connection tracking over `NETLINK_NETFILTER`. Every length is checked where it is written: an
//! attribute length is 16 bits wide, and one that wraps would let the kernel read the value's own
//! bytes as further attributes.

mod decode;
mod encode;
mod socket;

pub(crate) use decode::{Attributes, Message, read_u32_ne};
pub use encode::EncodeError;
pub(crate) use encode::{ACK, Batch, DUMP, Encoder};
pub use socket::SocketError;
pub(crate) use socket::{Family, Socket};

/// Type of the message that opens an nftables transaction.
pub(crate) const NFNL_BATCH_BEGIN: u16 = 16;
/// Type of the message that commits an nftables transaction.
pub(crate) const NFNL_BATCH_END: u16 = 17;
