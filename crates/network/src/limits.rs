//! Everything that could grow, and how far it may.

use std::time::Duration;

/// Send and receive buffer of a netlink socket, in bytes.
pub const NETLINK_BUFFER: usize = 8 << 20;
/// One read of a netlink socket, in bytes; the kernel never sends more at once.
pub const NETLINK_READ: usize = 64 << 10;
/// Elements in one message of an nftables transaction: their list must stay under 64 KiB.
pub const NFT_ELEMENTS_PER_MESSAGE: usize = 500;
/// Requests that wait for the kernel thread.
pub const KERNEL_REQUESTS: usize = 1024;
/// Length of the network part of what one bridge carries, in bits: 253 addresses for tasks. The kernel
/// takes 1,023 links a bridge, but sends a broadcast to all of them at once, and its queue holds 1,000
/// packets: the question for a neighbour's hardware address would not reach the oldest links.
pub const BRIDGE_PREFIX: u8 = 24;
/// Longest time that a new link waits for an address whose last owner's link is on its way out.
pub const ADDRESS_WAIT: Duration = Duration::from_secs(10);
/// Connections that the loopback relay of one installation carries at once.
pub const RELAY_CONNECTIONS: usize = 4096;
/// A relay that ends sooner than this would end again, and is not started again.
pub const RELAY_YOUNG: Duration = Duration::from_secs(1);
/// Peers that the UDP relay of one port remembers at once.
pub const RELAY_UDP_PEERS: usize = 256;
/// After this long without a datagram the UDP relay forgets a peer.
pub const RELAY_UDP_IDLE: Duration = Duration::from_secs(60);
/// Questions that the name forwarder has in flight at once; more are dropped and asked again.
pub const DNS_QUESTIONS: usize = 512;
/// Those of one source.
pub const DNS_QUESTIONS_PER_SOURCE: usize = 64;
/// TCP connections to the name forwarder.
pub const DNS_CONNECTIONS: usize = 256;
/// Those of one source.
pub const DNS_CONNECTIONS_PER_SOURCE: usize = 16;
/// How long nothing may happen on such a connection.
pub const DNS_IDLE: Duration = Duration::from_secs(5);
/// How long one server of the host may take to answer a question.
pub const DNS_ANSWER: Duration = Duration::from_secs(4);
/// How long a TCP connection to the name forwarder may live.
pub const DNS_CONNECTION: Duration = Duration::from_secs(30);
/// Largest `/etc/resolv.conf` that is read, in bytes.
pub const RESOLV_CONF: u64 = 64 << 10;
/// Name servers and search domains taken from the host, as many as libc reads.
pub const RESOLV_SERVERS: usize = 3;
/// Search domains taken from the host.
pub const RESOLV_SEARCH: usize = 6;
/// Time between two looks at addresses that wait for the end of their link.
pub const QUARANTINE_LOOK: Duration = Duration::from_millis(50);
/// After this long in quarantine an address is named in the log.
pub const QUARANTINE_LONG: Duration = Duration::from_secs(30);
/// Least time between two repairs of the firewall, so that two programs that undo each other do
/// not take a core.
pub const REPAIR_PAUSE: Duration = Duration::from_millis(20);
/// Time until a failed repair of the firewall is tried again.
pub const REPAIR_RETRY: Duration = Duration::from_millis(500);
/// Time that a start has for itself before what it took is made again.
pub const SPARE_PAUSE: Duration = Duration::from_millis(60);
/// Time until a failed attempt to make a network ahead of demand is repeated.
pub const SPARE_RETRY: Duration = Duration::from_secs(5);
/// Longest time that `down` waits for links to end.
pub const DOWN_WAIT: Duration = Duration::from_secs(10);
/// Longest name of a namespace, in bytes.
pub const NAMESPACE_NAME: usize = 128;
