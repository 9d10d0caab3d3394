//! Published ports: what is mapped, how a host port is reserved, and which one a container gets
//! that asks for any.
//!
//! A host port is reserved by listening on it. So every other program gets "address in use", and
//! so do we when another has it. The firewall's maps take packets away before they reach these
//! sockets; what does reach them came over loopback, and is relayed (`relay`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use crate::error::{Error, Result};
use crate::relay::{Keeper, Listening};
use crate::reserved::Reserved;

/// Transport protocol of a port, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Streams.
    Tcp = 6,
    /// Datagrams.
    Udp = 17,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the host that leads to a port of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMapping {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The host's address to publish on; all of them if absent. On a loopback address only
    /// programs of the host itself reach the port.
    pub host_address: Option<Ipv4Addr>,
    /// The host's port; zero asks for any of the dynamic range.
    pub host_port: u16,
    /// The task's address and the container's port.
    pub target: SocketAddrV4,
}

impl PortMapping {
    /// What no two mappings may share.
    pub(crate) fn key(&self) -> PortKey {
        PortKey {
            protocol: self.protocol,
            address: self
                .host_address
                .filter(|address| !address.is_unspecified()),
            port: self.host_port,
        }
    }
}

/// Host side of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortKey {
    pub(crate) protocol: Protocol,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) port: u16,
}

/// The ports that are published.
#[derive(Debug)]
pub(crate) struct Ports {
    published: BTreeMap<PortKey, SocketAddrV4>,
    range: (u16, u16),
    next: u16,
    keeper: Keeper,
    reserved: Reserved,
    /// What the relay of an earlier run carries, and no mapping has asked for yet.
    carried: BTreeMap<PortKey, SocketAddrV4>,
}

impl Ports {
    pub(crate) fn new(
        range: (u16, u16),
        (keeper, carried): (Keeper, BTreeMap<PortKey, SocketAddrV4>),
        reserved: Reserved,
    ) -> Self {
        let next = range.0;
        Self {
            published: BTreeMap::new(),
            range,
            next,
            keeper,
            reserved,
            carried,
        }
    }

    /// Gives back what an earlier run reserved and nothing publishes any more: once all of that is
    /// adopted.
    pub(crate) fn settle(&mut self) {
        let published: BTreeSet<u16> = self.published.keys().map(|key| key.port).collect();
        self.reserved.keep(&published);
    }

    /// Reserves the mapping's host port, choosing one if it asks for any, and has it carried.
    pub(crate) fn reserve(&mut self, mut mapping: PortMapping) -> Result<PortMapping> {
        if mapping.host_port != 0 {
            self.reserve_exact(&mapping)?;
            return Ok(mapping);
        }
        let (first, last) = self.range;
        for _ in first..=last {
            mapping.host_port = self.next;
            // In a circle, so that a port just released is the last to be used again.
            self.next = if self.next >= last {
                first
            } else {
                self.next + 1
            };
            match self.reserve_exact(&mapping) {
                Err(Error::PortInUse { .. }) => {}
                other => return other.map(|()| mapping),
            }
        }
        Err(Error::NoPort {
            first,
            last,
            protocol: mapping.protocol,
        })
    }

    /// Takes over a mapping of an earlier run. Its port works even if another program has taken
    /// it meanwhile, but for connections over loopback; that is the error returned.
    pub(crate) fn adopt(&mut self, mapping: &PortMapping) -> Result<()> {
        let key = mapping.key();
        let result = match self.carried.remove(&key) {
            Some(_) => Ok(()),
            None => self.reserve_exact(mapping),
        };
        self.published.entry(key).or_insert(mapping.target);
        self.reserved.add(key.port);
        result
    }

    fn reserve_exact(&mut self, mapping: &PortMapping) -> Result<()> {
        let key = mapping.key();
        let in_use = |source| Error::PortInUse {
            port: key.port,
            protocol: key.protocol,
            source,
        };
        if self.published.contains_key(&key) {
            return Err(in_use(None));
        }
        let sockets = listen(key).map_err(|error| match (error.raw_os_error(), key.address) {
            (Some(libc::EADDRNOTAVAIL), Some(address)) => Error::HostAddress { address },
            _ => in_use(Some(error)),
        })?;
        self.keeper.hold(key, mapping.target, sockets);
        self.published.insert(key, mapping.target);
        self.reserved.add(key.port);
        Ok(())
    }

    /// Forgets reservations. The ports are free when the keeper answered has released them.
    pub(crate) fn remove(&mut self, keys: &[PortKey]) -> Keeper {
        for key in keys {
            self.published.remove(key);
        }
        self.settle();
        self.keeper.clone()
    }

    /// The mappings that lead to this address.
    pub(crate) fn of(&self, address: Ipv4Addr) -> Vec<PortKey> {
        let to = |(_, target): &(&PortKey, &SocketAddrV4)| *target.ip() == address;
        self.published
            .iter()
            .filter(to)
            .map(|(key, _)| *key)
            .collect()
    }

    /// All mappings.
    pub(crate) fn keys(&self) -> Vec<PortKey> {
        self.published.keys().copied().collect()
    }
}

/// The dynamic range: the kernel's own, or the one that ECS falls back to.
pub(crate) fn dynamic_range(ip_local_port_range: &str) -> (u16, u16) {
    const FALLBACK: (u16, u16) = (49_153, 65_535);
    let mut numbers = ip_local_port_range
        .split_whitespace()
        .map(str::parse::<u16>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first > 0 && first <= last => (first, last),
        _ => FALLBACK,
    }
}

/// Listens on a host port.
pub(crate) fn listen(key: PortKey) -> io::Result<Listening> {
    let address = key.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let mut addresses = vec![IpAddr::V4(address)];
    // "localhost" is tried as ::1 first by many programs.
    if key.address.is_none() || key.address == Some(Ipv4Addr::LOCALHOST) {
        addresses.push(IpAddr::V6(Ipv6Addr::LOCALHOST));
    }
    let mut sockets = Vec::new();
    for address in addresses {
        let at = SocketAddr::new(address, key.port);
        let opened = match key.protocol {
            Protocol::Tcp => TcpListener::bind(at).map(OwnedFd::from),
            Protocol::Udp => UdpSocket::bind(at).map(OwnedFd::from),
        };
        match opened {
            Err(error) if address.is_ipv6() && error.kind() != io::ErrorKind::AddrInUse => {
                // The host has no IPv6: then nobody can ask for ::1.
                tracing::debug!(%at, %error, "no relay on ::1");
            }
            other => sockets.push(other?),
        }
    }
    Ok(Listening(sockets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_range_is_the_kernels_or_the_fallback() {
        for (text, range) in [
            ("32768\t60999\n", (32_768, 60_999)),
            ("1024 1024", (1024, 1024)),
            ("", (49_153, 65_535)),
            ("60999 32768", (49_153, 65_535)),
            ("0 70000", (49_153, 65_535)),
            ("a b", (49_153, 65_535)),
        ] {
            assert_eq!(dynamic_range(text), range, "{text:?}");
        }
    }

    #[test]
    fn the_unspecified_address_is_all_addresses() {
        let mapping = |host_address| PortMapping {
            protocol: Protocol::Tcp,
            host_address,
            host_port: 80,
            target: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 80),
        };
        assert_eq!(
            mapping(Some(Ipv4Addr::UNSPECIFIED)).key(),
            mapping(None).key()
        );
    }
}
