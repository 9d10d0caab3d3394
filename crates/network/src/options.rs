//! What a network is made from: the installation's short id, the address range, what already runs.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::limits;
use crate::network::Attached;
use crate::ports::PortMapping;
use crate::relay::Starter;

/// The flag that changes the address range; error messages name it.
pub const SUBNET_FLAG: &str = "--subnet";

/// How to open a network.
#[derive(Debug, Clone)]
pub struct Options {
    /// Part of every host-wide name, so that installations live side by side.
    pub installation: Installation,
    /// Folder for namespaces and the lock, on a file system that a reboot empties.
    pub run_dir: PathBuf,
    /// Addresses for tasks. The first one is the gateway's.
    pub subnet: Subnet,
    /// The gateway's TCP port on which the agent serves task metadata. Containers reach it as
    /// `169.254.170.2:80`.
    pub metadata_port: Option<u16>,
    /// The host's resolver settings.
    pub resolv_conf: PathBuf,
    /// Sandboxes that live already. What is not named here is removed.
    pub sandboxes: Vec<Existing>,
    /// The host's address on which ports are published that name none; all of them if absent.
    pub publish_address: Option<Ipv4Addr>,
    /// Networks kept ready, so that a sandbox need not wait for one.
    pub spares: usize,
    /// Starts the relay, by which published ports are reached over loopback while this process is
    /// not there. Without it they are not.
    pub relay: Option<Starter>,
}

impl Options {
    /// Options for an installation that runs nothing yet.
    pub fn new(installation: Installation, run_dir: PathBuf, subnet: Subnet) -> Self {
        Self {
            installation,
            run_dir,
            subnet,
            metadata_port: None,
            resolv_conf: PathBuf::from(crate::dns::RESOLV_CONF),
            sandboxes: Vec::new(),
            publish_address: None,
            spares: 0,
            relay: None,
        }
    }
}

/// A sandbox's network that an earlier run of the agent made.
#[derive(Debug, Clone, Default)]
pub struct Existing {
    /// Name of its namespace.
    pub namespace: String,
    /// Its interface, unless it has loopback only.
    pub attached: Option<Attached>,
    /// What it publishes.
    pub ports: Vec<PortMapping>,
}

/// An installation's short id: 4 to 8 characters of `a-z` and `0-9`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation(String);

impl Installation {
    /// Name of the installation's bridge.
    pub fn bridge(&self) -> String {
        format!("wl{}", self.0)
    }

    /// Name of the bridge that carries a part of the address range: the first is [`Self::bridge`].
    /// No id has an underscore, so none's bridge is called as another's.
    pub(crate) fn bridge_of(&self, part: u32) -> String {
        match part {
            0 => self.bridge(),
            _ => format!("{}_{part}", self.bridge()),
        }
    }

    /// The part of the range whose bridge has this name, if it is one of the installation's.
    pub(crate) fn part_of_bridge(&self, name: &str) -> Option<u32> {
        match name.strip_prefix(&self.bridge())? {
            "" => Some(0),
            rest => rest
                .strip_prefix('_')?
                .parse()
                .ok()
                .filter(|part| *part > 0),
        }
    }

    /// Name of the installation's nftables tables (families `ip` and `bridge`).
    pub fn table(&self) -> String {
        format!("windlass_{}", self.0)
    }

    /// How the names of its host-side links begin. The dash keeps one id from being the beginning
    /// of another's links.
    pub fn link_prefix(&self) -> String {
        format!("wl{}-", self.0)
    }
}

impl FromStr for Installation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if (4..=8).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::Installation(text.to_owned()))
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: u32,
    prefix: u8,
}

impl Subnet {
    /// The network of this length that `address` is in, whatever the length.
    pub(crate) fn around(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        let network = address.to_bits() & mask(prefix);
        Self { network, prefix }
    }

    /// Its first address, which names it.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network)
    }

    /// Length of its network part, in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The gateway's address: the first that a machine can have.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network | 1)
    }

    /// The address of all machines: the last one.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network | !mask(self.prefix))
    }

    /// Whether the address is in the network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        let prefix = self.prefix.min(other.prefix);
        (self.network ^ other.network) & mask(prefix) == 0
    }

    pub(crate) fn mask(self) -> u32 {
        mask(self.prefix)
    }

    /// Parts of the range that a bridge each carries.
    pub(crate) fn parts(self) -> u32 {
        1 << limits::BRIDGE_PREFIX.saturating_sub(self.prefix)
    }

    /// The part with this number; the whole range, if a bridge can carry it.
    pub(crate) fn part(self, number: u32) -> Self {
        let prefix = self.prefix.max(limits::BRIDGE_PREFIX);
        Self {
            network: self.network | number << (32 - prefix),
            prefix,
        }
    }

    /// The number of the part that an address of the range is in.
    pub(crate) fn part_of(self, address: Ipv4Addr) -> u32 {
        let prefix = self.prefix.max(limits::BRIDGE_PREFIX);
        (address.to_bits() & !self.mask()) >> (32 - prefix)
    }

    /// Addresses for tasks: all of each part but the network's, the gateway's and the broadcast one.
    pub fn capacity(self) -> u64 {
        let part = u64::from(!self.part(0).mask()) + 1;
        u64::from(self.parts()) * (part - 3)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Subnet {
    type Err = Error;

    /// Reads `10.77.0.0/16`. The range must have room for tasks and fit the links' names: /16 to
    /// /28; bits after the prefix must be zero.
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let address: Ipv4Addr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok()?;
            let subnet = Self::around(address, prefix);
            let special = address.is_loopback()
                || address.is_multicast()
                || address.is_link_local()
                || address.is_unspecified();
            ((16..=28).contains(&prefix) && subnet.network() == address && !special)
                .then_some(subnet)
        });
        parsed.ok_or_else(|| Error::Subnet(text.to_owned()))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installation_ids() {
        for (text, good) in [
            ("abcd", true),
            ("a1b2c3d4", true),
            ("abc", false),
            ("abcdefghi", false),
            ("ABCD", false),
            ("ab-d", false),
            ("a/../b", false),
            ("ab\nd", false),
        ] {
            assert_eq!(text.parse::<Installation>().is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn longest_link_name_fits() {
        let installation: Installation = "abcdefgh".parse().expect("valid");
        assert_eq!(
            format!("{}{:x}", installation.link_prefix(), 0xffff).len(),
            15
        );
    }

    #[test]
    fn bridges_are_named_by_part_and_never_as_another_installations() {
        let installation: Installation = "abcdefgh".parse().expect("valid");
        for part in [0, 1, 255] {
            let name = installation.bridge_of(part);
            assert!(name.len() <= 15, "{name}");
            assert_eq!(installation.part_of_bridge(&name), Some(part));
        }
        let short: Installation = "abcd".parse().expect("valid");
        for other in [
            "wlabcdefgh",
            "wlabcd-2",
            "wlabcd_",
            "wlabcd_0",
            "wlabcd_x",
            "wlabc",
        ] {
            assert_eq!(short.part_of_bridge(other), None, "{other}");
        }
    }

    #[test]
    fn a_range_has_a_part_for_each_bridge() {
        for (text, parts, capacity) in [
            ("10.77.0.0/16", 256, 64_768),
            ("192.168.224.0/20", 16, 4_048),
            ("10.77.0.0/23", 2, 506),
            ("10.77.0.0/24", 1, 253),
            ("10.77.0.16/28", 1, 13),
        ] {
            let subnet: Subnet = text.parse().expect("valid");
            assert_eq!(
                (subnet.parts(), subnet.capacity()),
                (parts, capacity),
                "{text}"
            );
            for number in 0..parts {
                let part = subnet.part(number);
                assert!(subnet.overlaps(part));
                for address in [part.network(), part.gateway(), part.broadcast()] {
                    assert_eq!(subnet.part_of(address), number, "{text} {address}");
                }
            }
            assert_eq!(subnet.part(parts - 1).broadcast(), subnet.broadcast());
        }
    }

    #[test]
    fn subnets() {
        for (text, good) in [
            ("10.77.0.0/16", true),
            ("192.168.5.16/28", true),
            ("10.0.0.0/8", false),
            ("10.77.0.0/29", false),
            ("10.77.0.1/16", false),
            ("127.0.0.0/16", false),
            ("169.254.0.0/16", false),
            ("224.0.0.0/16", false),
            ("10.77.0.0", false),
            ("fd00::/16", false),
        ] {
            assert_eq!(text.parse::<Subnet>().is_ok(), good, "{text:?}");
        }
        let subnet: Subnet = "10.77.0.0/16".parse().expect("valid");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(10, 77, 255, 255));
        for (address, prefix, overlaps) in [
            ([10, 77, 9, 0], 24, true),
            ([10, 0, 0, 0], 8, true),
            ([0, 0, 0, 0], 0, true),
            ([10, 78, 0, 0], 16, false),
            ([10, 77, 255, 255], 32, true),
        ] {
            let other = Subnet::around(address.into(), prefix);
            assert_eq!(subnet.overlaps(other), overlaps, "{other}");
            assert_eq!(other.overlaps(subnet), overlaps, "{other}");
        }
    }
}
