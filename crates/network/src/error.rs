//! What can go wrong, told to the person who runs the machine.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::netlink::SocketError;
use crate::options::SUBNET_FLAG;
use crate::ports::Protocol;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the network of tasks could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The installation's short id is part of interface names and must be short and plain.
    #[error("installation id {0:?} is not 4 to 8 characters of a-z and 0-9")]
    Installation(String),
    /// The address range for tasks cannot be used.
    #[error("address range {0:?} is not an IPv4 network of /16 to /28, such as 10.77.0.0/16")]
    Subnet(String),
    /// The machine already reaches other hosts by these addresses.
    #[error(
        "address range {subnet} for tasks overlaps {what} of interface {interface}; \
         choose another range with {SUBNET_FLAG}"
    )]
    SubnetOverlap {
        /// The range asked for.
        subnet: String,
        /// The route or address that is in the way.
        what: String,
        /// The interface that has it.
        interface: String,
    },
    /// Another interface has our bridge's name.
    #[error("interface {name} exists and is not a bridge; remove it with: ip link delete {name}")]
    NotABridge {
        /// Name of the interface.
        name: String,
    },
    /// A second agent of the same installation runs.
    #[error("the network of this installation is in use by another agent (lock {})", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The name of a namespace is a file name, and comes from an id.
    #[error("namespace name {0:?} is not a plain file name")]
    NamespaceName(String),
    /// The namespace is there already.
    #[error("network namespace {0} exists already")]
    NamespaceExists(String),
    /// Nothing is known of this namespace.
    #[error("there is no network namespace {0}")]
    NoNamespace(String),
    /// The namespace has an interface already.
    #[error("network namespace {0} is attached already")]
    AlreadyAttached(String),
    /// All addresses are taken or wait for the end of their last link.
    #[error("no address is free in {subnet}: {taken} in use, {quarantined} being cleared")]
    NoAddress {
        /// The range.
        subnet: String,
        /// Addresses in use.
        taken: usize,
        /// Addresses that wait.
        quarantined: usize,
    },
    /// This very address cannot be given.
    #[error("address {address} cannot be used: {why}")]
    Address {
        /// The address asked for.
        address: Ipv4Addr,
        /// The reason.
        why: &'static str,
    },
    /// The bridge has no room for another link.
    #[error("bridge {0} has 1023 links, the most that a bridge can have")]
    BridgeFull(String),
    /// The host port is taken, by a task or by a program of the host.
    #[error("host port {port}/{protocol} is in use")]
    PortInUse {
        /// The port.
        port: u16,
        /// TCP or UDP.
        protocol: Protocol,
        /// What the kernel said, unless a task of ours has the port.
        #[source]
        source: Option<io::Error>,
    },
    /// The dynamic range has no free port.
    #[error("no host port from {first} to {last} is free for {protocol}")]
    NoPort {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
        /// TCP or UDP.
        protocol: Protocol,
    },
    /// The address to publish on is not this machine's.
    #[error("cannot publish on {address}: it is not an address of this machine")]
    HostAddress {
        /// The address.
        address: Ipv4Addr,
    },
    /// The target of a port mapping must be a task's address.
    #[error("cannot publish to {0}: it is not an address of a task")]
    Target(std::net::SocketAddrV4),
    /// The mapping to remove is not there.
    #[error("host port {port}/{protocol} is not published")]
    NotPublished {
        /// The port.
        port: u16,
        /// TCP or UDP.
        protocol: Protocol,
    },
    /// A name for `/etc/hosts` or `/etc/hostname`.
    #[error("host name {0:?} is not a word of letters, digits, hyphens, underscores and dots")]
    HostName(String),
    /// The kernel refused a change of links, addresses or rules.
    #[error("{what}")]
    Netlink {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        #[source]
        source: SocketError,
    },
    /// A file or system call failed.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The thread that speaks to the kernel has ended.
    #[error("the network was shut down")]
    ShutDown,
    /// A teardown went on to its end, with these errors on the way.
    #[error("{what}: {} of its steps failed, first: {}", .errors.len(), first(.errors))]
    Teardown {
        /// What was taken down.
        what: String,
        /// All that went wrong, in order.
        errors: Vec<Error>,
    },
}

fn first(errors: &[Error]) -> String {
    errors.first().map(ToString::to_string).unwrap_or_default()
}

/// Says what was tried when a kernel call fails.
pub(crate) trait Trying<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Trying<T> for std::result::Result<T, SocketError> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Netlink {
            what: what(),
            source,
        })
    }
}

impl<T> Trying<T> for io::Result<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io {
            what: what(),
            source,
        })
    }
}

impl<T> Trying<T> for rustix::io::Result<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(io::Error::from).trying(what)
    }
}
