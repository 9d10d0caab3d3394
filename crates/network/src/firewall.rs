//! The rules of one installation: port maps, masquerade, and who may reach whom.
//!
//! Two tables, both named after the installation and ours alone; no chain of anybody else is
//! touched. No rule names a network card: rules say "our bridge", "not our bridge" and "not
//! loopback", so that cards may be renamed and added.
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

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::netlink::{EncodeError, Socket, SocketError};
use crate::nft::{
    Base, Chain, Expression, Hook, Key, Set, TableFamily, TableId, Transaction, Verdict, datatype,
};
use crate::options::{Installation, Subnet};
use crate::ports::{PortKey, Protocol};

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
    links: BTreeMap<String, ([u8; 6], Ipv4Addr)>,
    ports: BTreeMap<PortKey, SocketAddrV4>,
}

impl Firewall {
    pub(crate) fn new(scope: Scope) -> Self {
        let table = scope.installation.table();
        Self {
            scope,
            table,
            links: BTreeMap::new(),
            ports: BTreeMap::new(),
        }
    }

    /// Makes the kernel's copy equal to this one, in one transaction.
    pub(crate) fn apply(&self, socket: &Socket) -> Result<(), SocketError> {
        self.whole()?.commit(socket)
    }

    /// Removes the tables. Absent ones are no error.
    pub(crate) fn remove(&self, socket: &Socket) -> Result<(), SocketError> {
        let mut transaction = Transaction::new()?;
        for table in [self.ip(), self.bridge()] {
            transaction.add_table(table)?;
            transaction.delete_table(table)?;
        }
        transaction.commit(socket)
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
        transaction.add_set(bridge, LINKS)?;
        let links: Vec<_> = self
            .links
            .iter()
            .map(|(name, (mac, address))| link_element(name, *mac, *address))
            .collect();
        transaction.add_elements(bridge, LINKS.name, &links)?;
        for chain in ip_chains(&self.scope) {
            transaction.add_chain(ip, &chain)?;
        }
        transaction.add_chain(bridge, &bridge_chain(&self.scope))?;
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

fn link_element(interface: &str, mac: [u8; 6], address: Ipv4Addr) -> Element {
    let mut key = interface.as_bytes().to_vec();
    key.resize(16, 0);
    key.extend(mac);
    key.extend([0; 2]);
    key.extend(address.octets());
    (key, None)
}

fn ip_chains(scope: &Scope) -> Vec<Chain> {
    let chain = |name, kind, hook, priority, rules| Chain {
        name,
        kind,
        hook,
        priority,
        rules,
    };
    vec![
        chain("guard", "filter", Hook::Prerouting, -300, guard_rules()),
        chain(
            "prerouting",
            "nat",
            Hook::Prerouting,
            -100,
            prerouting_rules(scope),
        ),
        chain("output", "nat", Hook::Output, -100, output_rules()),
        chain(
            "postrouting",
            "nat",
            Hook::Postrouting,
            100,
            postrouting_rules(scope),
        ),
        chain("forward", "filter", Hook::Forward, 0, forward_rules(scope)),
        chain("input", "filter", Hook::Input, 0, input_rules(scope)),
    ]
}

fn guard_rules() -> Vec<Vec<Expression>> {
    vec![rule([
        &Expression::interface(Key::InputName, "lo", false)[..],
        &destination_in([127, 0, 0, 0], 8),
        &decide(Verdict::Drop),
    ])]
}

fn prerouting_rules(scope: &Scope) -> Vec<Vec<Expression>> {
    let mut rules = Vec::new();
    if let Some(port) = scope.metadata_port {
        rules.push(rule([
            &from_bridge(scope, true)[..],
            &destination_in(METADATA_ADDRESS.octets(), 32),
            &service(Protocol::Tcp, 80),
            &[
                Expression::Load {
                    register: 1,
                    value: scope.subnet.gateway().octets().to_vec(),
                },
                Expression::Load {
                    register: 2,
                    value: port.to_be_bytes().to_vec(),
                },
                Expression::DestinationNat {
                    address: 1,
                    port: 2,
                },
            ],
        ]));
    }
    rules.extend(published_rules());
    rules
}

fn output_rules() -> Vec<Vec<Expression>> {
    // The kernel would drop what comes back for 127.0.0.1; the relay serves it instead.
    let loopback = rule([
        &destination_in([127, 0, 0, 0], 8)[..],
        &[Expression::Verdict(Verdict::Accept)],
    ]);
    [vec![loopback], published_rules()].concat()
}

/// Looks the port up, for addresses of this machine only: what is on its way to another machine
/// must not be caught by a port that happens to be published here.
fn published_rules() -> Vec<Vec<Expression>> {
    const LOCAL: u32 = 2;
    let local = [
        Expression::DestinationKind { register: 1 },
        Expression::Equal {
            register: 1,
            value: LOCAL.to_ne_bytes().to_vec(),
        },
        Expression::Meta {
            key: Key::TransportProtocol,
            register: 1,
        },
    ];
    let port = |register| Expression::Payload {
        base: Base::Transport,
        offset: 2,
        length: 2,
        register,
    };
    let nat = Expression::DestinationNat {
        address: 1,
        port: 9,
    };
    let at = [
        Expression::Payload {
            base: Base::Network,
            offset: 16,
            length: 4,
            register: 9,
        },
        port(10),
        Expression::Map {
            map: PORTS_AT.name,
            register: 1,
            result: 1,
        },
        nat.clone(),
    ];
    let anywhere = [
        port(9),
        Expression::Map {
            map: PORTS.name,
            register: 1,
            result: 1,
        },
        nat,
    ];
    vec![rule([&local[..], &at]), rule([&local[..], &anywhere])]
}

fn postrouting_rules(scope: &Scope) -> Vec<Vec<Expression>> {
    let bridge = scope.installation.bridge();
    let source = address_in(12, scope.subnet.network().octets(), scope.subnet.prefix());
    vec![
        rule([
            &source[..],
            &Expression::interface(Key::OutputName, &bridge, false),
            &[Expression::Masquerade],
        ]),
        // A container that comes by a host port, perhaps to itself: without this the answer
        // would take the short way, with an address that the asker does not know.
        rule([
            &source[..],
            &Expression::interface(Key::OutputName, &bridge, true),
            &destination_rewritten(),
            &[Expression::Masquerade],
        ]),
    ]
}

fn forward_rules(scope: &Scope) -> Vec<Vec<Expression>> {
    let bridge = scope.installation.bridge();
    let from = from_bridge(scope, true);
    let to = Expression::interface(Key::OutputName, &bridge, true);
    let accept = [Expression::Verdict(Verdict::Accept)];
    let mut rules = vec![
        rule([
            &from[..],
            &destination_in([169, 254, 0, 0], 16),
            &decide(Verdict::Drop),
        ]),
        rule([&from[..], &to, &accept]),
        rule([&to[..], &answers(), &accept]),
        rule([&to[..], &destination_rewritten(), &accept]),
        rule([&to[..], &decide(Verdict::Drop)]),
    ];
    if scope.guard_forwarding {
        // Other bridges belong to programs that need forwarding themselves; what is neither
        // theirs nor any installation's was not forwarded before us.
        let kind = |key| {
            let mut value = b"bridge".to_vec();
            value.resize(16, 0);
            [
                Expression::Meta { key, register: 1 },
                Expression::NotEqual { register: 1, value },
            ]
        };
        rules.push(rule([
            &Expression::interface_prefix(Key::InputName, "wl", false)[..],
            &Expression::interface_prefix(Key::OutputName, "wl", false),
            &kind(Key::InputKind),
            &kind(Key::OutputKind),
            &decide(Verdict::Drop),
        ]));
    }
    rules
}

fn input_rules(scope: &Scope) -> Vec<Vec<Expression>> {
    let accept = [Expression::Verdict(Verdict::Accept)];
    let gateway = destination_in(scope.subnet.gateway().octets(), 32);
    let echo_request = [
        Expression::Meta {
            key: Key::TransportProtocol,
            register: 1,
        },
        Expression::Equal {
            register: 1,
            value: vec![1],
        },
        Expression::Payload {
            base: Base::Transport,
            offset: 0,
            length: 1,
            register: 1,
        },
        Expression::Equal {
            register: 1,
            value: vec![8],
        },
    ];
    let mut rules = vec![
        rule([&from_bridge(scope, false)[..], &accept]),
        rule([&answers()[..], &accept]),
        rule([&gateway[..], &service(Protocol::Udp, 53), &accept]),
        rule([&gateway[..], &service(Protocol::Tcp, 53), &accept]),
        rule([&gateway[..], &echo_request, &accept]),
    ];
    if let Some(port) = scope.metadata_port {
        let metadata = service(Protocol::Tcp, port);
        rules.push(rule([
            &gateway[..],
            &metadata,
            &destination_rewritten(),
            &accept,
        ]));
    }
    rules.push(decide(Verdict::Drop).to_vec());
    rules
}

fn bridge_chain(scope: &Scope) -> Chain {
    let load = |base, offset, length, register| Expression::Payload {
        base,
        offset,
        length,
        register,
    };
    let ether_type = |value: u16| {
        [
            load(Base::Link, 12, 2, 1),
            Expression::Equal {
                register: 1,
                value: value.to_be_bytes().to_vec(),
            },
        ]
    };
    let name = Expression::Meta {
        key: Key::InputName,
        register: 1,
    };
    let known = Expression::InSet {
        set: LINKS.name,
        register: 1,
    };
    let accept = [Expression::Verdict(Verdict::Accept)];
    let prefix = scope.installation.link_prefix();
    let rules = vec![
        rule([
            &Expression::interface_prefix(Key::InputName, &prefix, false)[..],
            &accept,
        ]),
        rule([
            &ether_type(0x0800)[..],
            &[
                name.clone(),
                load(Base::Link, 6, 6, 12),
                load(Base::Network, 12, 4, 14),
                known.clone(),
            ],
            &accept,
        ]),
        // Both the frame's sender and the one that the question or answer names.
        rule([
            &ether_type(0x0806)[..],
            &[
                name.clone(),
                load(Base::Link, 6, 6, 12),
                load(Base::Network, 14, 4, 14),
                known.clone(),
                name,
                load(Base::Network, 8, 6, 12),
                load(Base::Network, 14, 4, 14),
                known,
            ],
            &accept,
        ]),
        // Everything else goes with it: IPv6, VLAN tags, spanning tree.
        decide(Verdict::Drop).to_vec(),
    ];
    Chain {
        name: "prerouting",
        kind: "filter",
        hook: Hook::Prerouting,
        priority: -300,
        rules,
    }
}

fn rule<const N: usize>(parts: [&[Expression]; N]) -> Vec<Expression> {
    parts.concat()
}

fn decide(verdict: Verdict) -> [Expression; 2] {
    [Expression::Counter, Expression::Verdict(verdict)]
}

fn from_bridge(scope: &Scope, equal: bool) -> [Expression; 2] {
    Expression::interface(Key::InputName, &scope.installation.bridge(), equal)
}

fn destination_in(network: [u8; 4], prefix: u8) -> Vec<Expression> {
    address_in(16, network, prefix)
}

/// Matches an address of the IP header, at this offset, with a network.
fn address_in(offset: u32, network: [u8; 4], prefix: u8) -> Vec<Expression> {
    let register = 1;
    let mut steps = vec![Expression::Payload {
        base: Base::Network,
        offset,
        length: 4,
        register,
    }];
    if prefix < 32 {
        let mask = Subnet::around(network.into(), prefix)
            .mask()
            .to_be_bytes()
            .to_vec();
        steps.push(Expression::And { register, mask });
    }
    steps.push(Expression::Equal {
        register,
        value: network.to_vec(),
    });
    steps
}

fn service(protocol: Protocol, port: u16) -> [Expression; 4] {
    [
        Expression::Meta {
            key: Key::TransportProtocol,
            register: 1,
        },
        Expression::Equal {
            register: 1,
            value: vec![protocol as u8],
        },
        Expression::Payload {
            base: Base::Transport,
            offset: 2,
            length: 2,
            register: 1,
        },
        Expression::Equal {
            register: 1,
            value: port.to_be_bytes().to_vec(),
        },
    ]
}

/// Matches packets of known connections and what belongs to them.
fn answers() -> [Expression; 3] {
    const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
    any_bit(
        Expression::ConnectionState { register: 1 },
        ESTABLISHED_OR_RELATED,
    )
}

/// Matches connections whose destination was rewritten: those of published ports.
fn destination_rewritten() -> [Expression; 3] {
    const DESTINATION_NAT: u32 = 1 << 5;
    any_bit(
        Expression::ConnectionStatus { register: 1 },
        DESTINATION_NAT,
    )
}

fn any_bit(load: Expression, bits: u32) -> [Expression; 3] {
    [
        load,
        Expression::And {
            register: 1,
            mask: bits.to_ne_bytes().to_vec(),
        },
        Expression::NotEqual {
            register: 1,
            value: vec![0; 4],
        },
    ]
}
