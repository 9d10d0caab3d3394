//! Ports of the machine that programs listen on, as the kernel lists them. A static host port that
//! another program has is then refused when a task is placed.
//!
//! Sockets of this installation are in the list too; the control plane knows which of them are its
//! tasks'.

use crate::limits::LISTENING_PORTS_MAX;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use windlass_model::resources::{HostPort, Protocol};

/// A list of sockets: where, of what, and the state of those that wait for others.
struct Table {
    path: &'static str,
    protocol: Protocol,
    waiting: &'static str,
}

const TABLES: [Table; 4] = [
    Table {
        path: "/proc/net/tcp",
        protocol: Protocol::Tcp,
        waiting: "0A",
    },
    Table {
        path: "/proc/net/tcp6",
        protocol: Protocol::Tcp,
        waiting: "0A",
    },
    Table {
        path: "/proc/net/udp",
        protocol: Protocol::Udp,
        waiting: "07",
    },
    Table {
        path: "/proc/net/udp6",
        protocol: Protocol::Udp,
        waiting: "07",
    },
];

/// What is listened on now. A table that is not there, as without IPv6, lists nothing.
pub(crate) fn ports() -> BTreeSet<HostPort> {
    let dynamic = dynamic_range();
    let mut ports = BTreeSet::new();
    for table in &TABLES {
        match File::open(table.path) {
            Ok(file) => read(table, BufReader::new(file), dynamic, &mut ports),
            Err(error) => tracing::debug!(path = table.path, %error, "no table of sockets"),
        }
    }
    while ports.len() > LISTENING_PORTS_MAX {
        ports.pop_last();
    }
    ports
}

fn read(table: &Table, lines: impl BufRead, dynamic: (u16, u16), ports: &mut BTreeSet<HostPort>) {
    // The first line names the columns.
    for line in lines.lines().map_while(Result::ok).skip(1) {
        let Some((address, port, state)) = parse(&line) else {
            continue;
        };
        if state != table.waiting {
            if table.protocol == Protocol::Tcp {
                // Listening sockets come first: the connections, which may be many, need no look.
                return;
            }
            continue;
        }
        // A client's datagram socket waits as a server's does, for a moment, on a port of this
        // range.
        let client = table.protocol == Protocol::Udp && (dynamic.0..=dynamic.1).contains(&port);
        if port != 0 && !client && conflicts(address) {
            ports.insert(HostPort {
                protocol: table.protocol,
                port,
            });
        }
    }
}

/// Local address and port and the state, of a line such as
/// `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 ...`.
fn parse(line: &str) -> Option<(&str, u16, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let (_, local, _, state) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let (address, port) = local.split_once(':')?;
    Some((address, u16::from_str_radix(port, 16).ok()?, state))
}

/// Whether a socket on the address keeps a task's port from being published, which is on every IPv4
/// address and on IPv6's loopback. The kernel writes words of the machine's byte order.
fn conflicts(address: &str) -> bool {
    const ANY: &str = "00000000000000000000000000000000";
    const LOOPBACK: &str = "00000000000000000000000001000000";
    const MAPPED: &str = "0000000000000000FFFF0000";
    address.len() == 8 || address == ANY || address == LOOPBACK || address.starts_with(MAPPED)
}

/// The ports that the kernel gives to who asks for any.
fn dynamic_range() -> (u16, u16) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let text = text.unwrap_or_default();
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u16>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => (first, last),
        _ => (32_768, 60_999),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n";

    fn found(table: &Table, lines: &[&str]) -> Vec<u16> {
        let text = format!("{HEAD}{}\n", lines.join("\n"));
        let mut ports = BTreeSet::new();
        read(table, text.as_bytes(), (32_768, 60_999), &mut ports);
        ports.into_iter().map(|port| port.port).collect()
    }

    #[test]
    fn listeners_are_told_from_connections_and_clients() {
        let [tcp, tcp6, udp, _] = &TABLES;
        let lines = [
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000",
            "   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000",
            "   2: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000",
            "   3: 00000000:0051 00000000:0000 0A 00000000:00000000 00:00000000",
        ];
        assert_eq!(found(tcp, &lines), [80, 8080], "nothing after a connection");
        let lines = [
            "0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A",
            "1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A",
            "2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A",
            "3: 000080FE00000000FF0B0A02FE3A1C9D:0053 00000000000000000000000000000000:0000 0A",
        ];
        assert_eq!(found(tcp6, &lines), [80, 81, 82]);
        let lines = [
            "0: 00000000:0035 00000000:0000 07 00000000:00000000",
            "1: 00000000:9C40 00000000:0000 07 00000000:00000000",
            "2: 0100007F:0036 0100007F:0035 01 00000000:00000000",
            "not a socket",
        ];
        assert_eq!(found(udp, &lines), [53]);
    }

    #[test]
    fn the_kernels_lists_are_read() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = HostPort {
            protocol: Protocol::Tcp,
            port: tcp.local_addr().unwrap().port(),
        };
        assert!(ports().contains(&port));
        // A datagram socket of the range that clients use is not counted.
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = HostPort {
            protocol: Protocol::Udp,
            port: udp.local_addr().unwrap().port(),
        };
        assert!(!ports().contains(&port));
    }
}
