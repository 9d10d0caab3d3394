//! The network of tasks on one machine: namespaces, addresses, published ports, firewall, names.
//!
//! Scope: IPv4 on one host. A sandbox gets a network namespace; in it either loopback only or an
//! interface on a bridge of the installation with an address of its own. Not here: which task gets
//! what (`node`, `cluster`), and networks between machines.
//!
//! ```text
//!   namespace A          namespace B            host                      other machines
//!   eth0 10.77.0.2       eth0 10.77.0.3         eth0 192.0.2.2
//!     |                    |                      |
//!   wlID-2               wlID-3                   |   ports: rewritten by the firewall's maps
//!     +------- bridge wlID, 10.77.0.1 ------------+   out: masqueraded
//!                           |
//!                  :53 forwarder, metadata            127.0.0.1:port, [::1]:port: relayed
//! ```
//!
//! The kernel takes 1,023 links a bridge, so a larger range than a /24 is carried by several, made as
//! they are needed: `wlID` has the first /24 of it, `wlID_1` the next, each its own gateway. Packets
//! between them are forwarded, and names are asked for at the first one's address.
//!
//! Where to look:
//! - [`Driver`] is what the agent uses; [`Network`] does it, [`FakeNetwork`] pretends to.
//! - [`Addresses`] gives out addresses; `ports` reserves host ports; `relay` carries what comes
//!   over loopback.
//! - `firewall` holds the rules and says who may reach whom; `watch` puts them back when somebody
//!   flushes them.
//! - `kernel` is the thread that speaks to the kernel, by `link`, `conntrack` and `nft`, all over
//!   `netlink`. No other program is started.
//! - `dns` forwards questions; [`resolv_conf`](Network::resolv_conf), [`hosts_file`] and
//!   [`hostname_file`] make the files that containers see.
//!
//! Every host-wide name carries the installation's short id, and only what carries it is ever
//! changed or removed. All state can be rebuilt: what the kernel has is taken over at
//! [`Network::open`], the rest is named by the caller.

mod addresses;
mod conntrack;
mod dns;
mod driver;
mod error;
mod fake;
mod firewall;
mod forwarding;
mod kernel;
pub mod limits;
mod link;
mod namespace;
mod neighbours;
mod netlink;
mod network;
mod nft;
mod options;
mod ports;
mod quarantine;
pub mod relay;
mod reserved;
mod resolv;
mod watch;

pub use addresses::Addresses;
pub use driver::Driver;
pub use error::{Error, Result};
pub use fake::FakeNetwork;
pub use firewall::METADATA_ADDRESS;
pub use netlink::{EncodeError, SocketError};
pub use network::{Attached, NamespaceHandle, Network, check_kernel, is_open};
pub use options::{Existing, Installation, Options, SUBNET_FLAG, Subnet};
pub use ports::{PortMapping, Protocol};
pub use resolv::{ResolvConf, for_containers, hostname_file, hosts_file};
