//! The chains and their rules. Pure: from what an installation is to what the kernel reads.

use super::{BRIDGES, LINKS, METADATA_ADDRESS, PORTS, PORTS_AT, Scope};
use crate::nft::{Base, Chain, Expression, Hook, Key, Verdict};
use crate::options::Subnet;
use crate::ports::Protocol;

/// The chains of the `ip` table.
pub(super) fn ip_chains(scope: &Scope) -> Vec<Chain> {
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
            &on_bridge(Key::InputName, true)[..],
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
    let source = address_in(12, scope.subnet.network().octets(), scope.subnet.prefix());
    vec![
        rule([
            &source[..],
            &on_bridge(Key::OutputName, false),
            &[Expression::Masquerade],
        ]),
        // A container that comes by a host port, perhaps to itself: without this the answer
        // would take the short way, with an address that the asker does not know.
        rule([
            &source[..],
            &on_bridge(Key::OutputName, true),
            &destination_rewritten(),
            &[Expression::Masquerade],
        ]),
    ]
}

fn forward_rules(scope: &Scope) -> Vec<Vec<Expression>> {
    let from = on_bridge(Key::InputName, true);
    let to = on_bridge(Key::OutputName, true);
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
        rule([&on_bridge(Key::InputName, false)[..], &accept]),
        rule([&answers()[..], &accept]),
        rule([&gateway[..], &service(Protocol::Udp, 53), &accept]),
        rule([&gateway[..], &service(Protocol::Tcp, 53), &accept]),
        rule([&any_gateway(scope)[..], &echo_request, &accept]),
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

/// The chain of the `bridge` table.
pub(super) fn bridge_chain(scope: &Scope) -> Chain {
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

/// Matches packets that come from, or go to, one of our bridges or none of them.
fn on_bridge(key: Key, ours: bool) -> [Expression; 2] {
    let (set, register) = (BRIDGES.name, 1);
    let found = match ours {
        true => Expression::InSet { set, register },
        false => Expression::NotInSet { set, register },
    };
    [Expression::Meta { key, register }, found]
}

/// Matches the address of any of our bridges: the first of each part of the range.
fn any_gateway(scope: &Scope) -> Vec<Expression> {
    let register = 1;
    let mask = scope.subnet.mask() | !scope.subnet.part(0).mask();
    vec![
        Expression::Payload {
            base: Base::Network,
            offset: 16,
            length: 4,
            register,
        },
        Expression::And {
            register,
            mask: mask.to_be_bytes().to_vec(),
        },
        Expression::Equal {
            register,
            value: scope.subnet.gateway().octets().to_vec(),
        },
    ]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_of_every_part_is_matched_and_no_task() {
        for (range, gateways, others) in [
            (
                "10.77.0.0/16",
                &[[10, 77, 0, 1], [10, 77, 4, 1], [10, 77, 255, 1]][..],
                &[[10, 77, 0, 2], [10, 77, 1, 0], [10, 78, 0, 1]][..],
            ),
            (
                "10.77.0.16/28",
                &[[10, 77, 0, 17]],
                &[[10, 77, 0, 1], [10, 77, 0, 18]],
            ),
        ] {
            let scope = Scope {
                installation: "test".parse().expect("valid"),
                subnet: range.parse().expect("valid"),
                metadata_port: None,
                guard_forwarding: false,
            };
            let matcher = any_gateway(&scope);
            let [
                _,
                Expression::And { mask, .. },
                Expression::Equal { value, .. },
            ] = &matcher[..]
            else {
                panic!("{matcher:?}")
            };
            let matches = |address: [u8; 4]| {
                let masked = address.iter().zip(mask).map(|(byte, mask)| byte & mask);
                masked.eq(value.iter().copied())
            };
            assert!(gateways.iter().all(|gateway| matches(*gateway)), "{range}");
            assert!(!others.iter().any(|other| matches(*other)), "{range}");
        }
    }
}
