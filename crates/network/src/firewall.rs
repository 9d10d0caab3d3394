//! The rules of one installation: port maps, masquerade, and who may reach whom.
//!
//! Two tables, both named after the installation and ours alone; no chain of anybody else is
//! touched. No rule names a network card: rules say "one of our bridges", "none of our bridges" and
//! "not loopback", so that cards may be renamed and added.
//!
//! | table | chain | what it does |
//! |---|---|---|
//! | ip | guard | drops packets from outside for 127.0.0.0/8, whatever `route_localnet` says |
//! | ip | prerouting, output | sends published ports of local addresses to containers, by map |
//! | ip | postrouting | masquerades what leaves the range, and what returns into it |
//! | ip | forward | from outside only published ports and answers reach containers; link-local destinations are dropped |
//! | ip | input | containers reach the gateway's resolver and metadata port, and nothing else of the host |
//! | bridge | prerouting | each link sends only with its own hardware address and IPv4 address |
//!
//! A port published on a loopback address has no element in the maps: only the relay serves it,
//! so no packet from outside can reach it.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::netlink::{EncodeError, Socket, SocketError};
use crate::nft::{Set, TableFamily, TableId, Transaction, datatype};
use crate::options::{Installation, Subnet};
use crate::ports::PortKey;

/// Where containers find the metadata endpoint.
pub const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);

const PORTS: Set = Set {
    name: "ports",
    key_type: datatype::concat(&[datatype::PROTOCOL, datatype::SERVICE]),
    key_bytes: 8,
    data: Some((
        datatype::concat(&[datatype::IPV4_ADDRESS, datatype::SERVICE]),
        8,
    )),
};
const PORTS_AT: Set = Set {
    name: "ports_at",
    key_type: datatype::concat(&[
        datatype::PROTOCOL,
        datatype::IPV4_ADDRESS,
        datatype::SERVICE,
    ]),
    key_bytes: 12,
    data: Some((
        datatype::concat(&[datatype::IPV4_ADDRESS, datatype::SERVICE]),
        8,
    )),
};
const BRIDGES: Set = Set {
    name: "bridges",
    key_type: datatype::INTERFACE_NAME,
    key_bytes: 16,
    data: None,
};
const LINKS: Set = Set {
    name: "links",
    key_type: datatype::concat(&[
        datatype::INTERFACE_NAME,
        datatype::ETHER_ADDRESS,
        datatype::IPV4_ADDRESS,
    ]),
    key_bytes: 28,
    data: None,
};

/// Removes an installation's tables. Absent ones are no error.
pub(crate) fn remove(installation: &Installation, socket: &Socket) -> Result<(), SocketError> {
    let name = installation.table();
    let mut transaction = Transaction::new()?;
    for family in [TableFamily::Ip, TableFamily::Bridge] {
        let table = TableId {
            family,
            name: &name,
        };
        transaction.add_table(table)?;
        transaction.delete_table(table)?;
    }
    transaction.commit(socket)
}

/// An element of a set: its key, and its data in a map.
type Element = (Vec<u8>, Option<Vec<u8>>);

/// What the rules depend on besides the sandboxes.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) installation: Installation,
    pub(crate) subnet: Subnet,
    pub(crate) metadata_port: Option<u16>,
    /// This installation turned the machine into a router; others must not profit from it.
    pub(crate) guard_forwarding: bool,
}

/// The rules and what they hold of sandboxes: the truth from which the kernel's copy is made.
#[derive(Debug)]
pub(crate) struct Firewall {
    scope: Scope,
    table: String,
    bridges: BTreeSet<String>,
    links: BTreeMap<String, ([u8; 6], Ipv4Addr)>,
    ports: BTreeMap<PortKey, SocketAddrV4>,
}

impl Firewall {
    pub(crate) fn new(scope: Scope) -> Self {
        let table = scope.installation.table();
        Self {
            scope,
            table,
            bridges: BTreeSet::new(),
            links: BTreeMap::new(),
            ports: BTreeMap::new(),
        }
    }

    /// Makes the kernel's copy equal to this one, in one transaction.
    pub(crate) fn apply(&self, socket: &Socket) -> Result<(), SocketError> {
        self.whole()?.commit(socket)
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Notes a bridge without telling the kernel.
    pub(crate) fn note_bridge(&mut self, name: &str) {
        self.bridges.insert(name.to_owned());
    }

    /// Puts a bridge under the rules, before any link is on it.
    pub(crate) fn add_bridge(&mut self, socket: &Socket, name: &str) -> Result<(), SocketError> {
        self.note_bridge(name);
        let mut transaction = Transaction::new()?;
        transaction.add_elements(self.ip(), BRIDGES.name, &[bridge_element(name)])?;
        self.commit_or_apply(socket, transaction)
    }

    /// Notes a link without telling the kernel: for what is there before the first `apply`.
    pub(crate) fn note_link(&mut self, interface: &str, mac: [u8; 6], address: Ipv4Addr) {
        self.links.insert(interface.to_owned(), (mac, address));
    }

    /// Notes a mapping without telling the kernel.
    pub(crate) fn note_port(&mut self, key: PortKey, target: SocketAddrV4) {
        self.ports.insert(key, target);
    }

    /// Lets a link send as this address. It is called before the link exists.
    pub(crate) fn add_link(
        &mut self,
        socket: &Socket,
        interface: &str,
        mac: [u8; 6],
        address: Ipv4Addr,
    ) -> Result<(), SocketError> {
        self.note_link(interface, mac, address);
        let mut transaction = Transaction::new()?;
        let element = link_element(interface, mac, address);
        transaction.add_elements(self.bridge(), LINKS.name, &[element])?;
        self.commit_or_apply(socket, transaction)
    }

    /// Publishes ports.
    pub(crate) fn add_ports(
        &mut self,
        socket: &Socket,
        ports: &[(PortKey, SocketAddrV4)],
    ) -> Result<(), SocketError> {
        let mut transaction = Transaction::new()?;
        for (key, target) in ports {
            self.note_port(*key, *target);
            if let Some((set, element)) = port_element(*key, *target) {
                transaction.add_elements(self.ip(), set.name, &[element])?;
            }
        }
        self.commit_or_apply(socket, transaction)
    }

    /// Takes a link's right to send and unpublishes ports.
    pub(crate) fn remove_elements(
        &mut self,
        socket: &Socket,
        interface: Option<&str>,
        ports: &[PortKey],
    ) -> Result<(), SocketError> {
        let mut transaction = Transaction::new()?;
        let link = interface.and_then(|name| self.links.remove_entry(name));
        if let Some((name, (mac, address))) = link {
            let element = link_element(&name, mac, address);
            transaction.delete_elements(self.bridge(), LINKS.name, &[element])?;
        }
        for key in ports {
            let Some(target) = self.ports.remove(key) else {
                continue;
            };
            if let Some((set, (key, _))) = port_element(*key, target) {
                transaction.delete_elements(self.ip(), set.name, &[(key, None)])?;
            }
        }
        self.commit_or_apply(socket, transaction)
    }

    /// Commits a change of elements. If the tables are gone, somebody flushed them this moment:
    /// then everything is put back.
    fn commit_or_apply(
        &self,
        socket: &Socket,
        transaction: Transaction,
    ) -> Result<(), SocketError> {
        match transaction.commit(socket) {
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::EEXIST)) => {
                self.apply(socket)
            }
            other => other,
        }
    }

    fn whole(&self) -> Result<Transaction, EncodeError> {
        let mut transaction = Transaction::new()?;
        let (ip, bridge) = (self.ip(), self.bridge());
        transaction.replace_table(ip)?;
        transaction.replace_table(bridge)?;
        for set in [PORTS, PORTS_AT] {
            transaction.add_set(ip, set)?;
            let elements = self.port_elements(set);
            transaction.add_elements(ip, set.name, &elements)?;
        }
        transaction.add_set(ip, BRIDGES)?;
        let bridges: Vec<_> = self
            .bridges
            .iter()
            .map(|name| bridge_element(name))
            .collect();
        transaction.add_elements(ip, BRIDGES.name, &bridges)?;
        transaction.add_set(bridge, LINKS)?;
        let links: Vec<_> = self
            .links
            .iter()
            .map(|(name, (mac, address))| link_element(name, *mac, *address))
            .collect();
        transaction.add_elements(bridge, LINKS.name, &links)?;
        for chain in rules::ip_chains(&self.scope) {
            transaction.add_chain(ip, &chain)?;
        }
        transaction.add_chain(bridge, &rules::bridge_chain(&self.scope))?;
        Ok(transaction)
    }

    fn port_elements(&self, wanted: Set) -> Vec<Element> {
        self.ports
            .iter()
            .filter_map(|(key, target)| port_element(*key, *target))
            .filter(|(set, _)| set.name == wanted.name)
            .map(|(_, element)| element)
            .collect()
    }

    fn ip(&self) -> TableId<'_> {
        TableId {
            family: TableFamily::Ip,
            name: &self.table,
        }
    }

    fn bridge(&self) -> TableId<'_> {
        TableId {
            family: TableFamily::Bridge,
            name: &self.table,
        }
    }
}

/// The map and element of a mapping; none for loopback addresses.
fn port_element(key: PortKey, target: SocketAddrV4) -> Option<(Set, Element)> {
    // Parts of a concatenation are padded to four bytes.
    let port = |port: u16| [port.to_be_bytes(), [0; 2]].concat();
    let protocol = [key.protocol as u8, 0, 0, 0];
    let data = [target.ip().octets().to_vec(), port(target.port())].concat();
    match key.address {
        None => {
            let bytes = [protocol.to_vec(), port(key.port)].concat();
            Some((PORTS, (bytes, Some(data))))
        }
        Some(address) if address.is_loopback() => None,
        Some(address) => {
            let bytes = [protocol.to_vec(), address.octets().to_vec(), port(key.port)].concat();
            Some((PORTS_AT, (bytes, Some(data))))
        }
    }
}

fn bridge_element(name: &str) -> Element {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    (key, None)
}

fn link_element(interface: &str, mac: [u8; 6], address: Ipv4Addr) -> Element {
    let mut key = interface.as_bytes().to_vec();
    key.resize(16, 0);
    key.extend(mac);
    key.extend([0; 2]);
    key.extend(address.octets());
    (key, None)
}
