//! Forgets tracked connections of what is gone.
//!
//! A tracked connection keeps its translation as long as packets come. Without this a client that
//! goes on sending datagrams would reach the next owner of an address, or the last owner of a
//! port.

use std::net::Ipv4Addr;

use crate::netlink::{ACK, Attributes, Batch, DUMP, Socket, SocketError};
use crate::ports::Protocol;

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;

/// Connections to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// All of this address.
    Of(Ipv4Addr),
    /// Those that came to a host port and were sent to this address.
    Published {
        protocol: Protocol,
        host_port: u16,
        target: Ipv4Addr,
    },
}

/// One direction of a tracked connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tuple {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    destination_port: u16,
}

impl Flow {
    fn covers(self, original: Tuple, reply: Tuple) -> bool {
        match self {
            // The reply's source is the true destination, whatever the translation.
            Self::Of(address) => {
                [original.source, original.destination, reply.source].contains(&address)
            }
            Self::Published {
                protocol,
                host_port,
                target,
            } => {
                reply.source == target
                    && original.protocol == protocol as u8
                    && original.destination_port == host_port
            }
        }
    }
}

/// Forgets all connections that one of `flows` covers. Answers how many there were.
pub(crate) fn forget(socket: &Socket, flows: &[Flow]) -> Result<usize, SocketError> {
    let header = [libc::AF_INET as u8, 0, 0, 0];
    let mut question = Batch::new();
    question.message(SUBSYSTEM | GET, DUMP, |m| {
        m.raw(&header);
        Ok(())
    })?;
    let mut forgotten = 0;
    for (_, body) in socket.dump(&question)? {
        let attributes = Attributes::after(&body, 4);
        let tuples = attributes
            .nested(ORIGINAL)
            .and_then(read)
            .zip(attributes.nested(REPLY).and_then(read));
        let covered = |(original, reply)| flows.iter().any(|flow| flow.covers(original, reply));
        if !tuples.is_some_and(covered) {
            continue;
        }
        let mut order = Batch::new();
        order.message(SUBSYSTEM | DELETE, ACK, |m| {
            m.raw(&header);
            if let Some(tuple) = attributes.get(ORIGINAL) {
                m.nested(ORIGINAL, |m| {
                    m.raw(tuple);
                    Ok(())
                })?;
            }
            for kind in [ID, ZONE] {
                if let Some(value) = attributes.get(kind) {
                    m.attribute(kind, value)?;
                }
            }
            Ok(())
        })?;
        match socket.execute(&order) {
            Ok(()) => forgotten += 1,
            // It ended by itself.
            Err(error) if error.errno() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(forgotten)
}

fn read(tuple: Attributes<'_>) -> Option<Tuple> {
    let (ip, transport) = (tuple.nested(1)?, tuple.nested(2)?);
    let address = |kind| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(kind)?).ok()?));
    Some(Tuple {
        source: address(1)?,
        destination: address(2)?,
        protocol: *transport.get(1)?.first()?,
        // Protocols without ports have none.
        destination_port: transport
            .get(3)
            .and_then(|bytes| bytes.first_chunk())
            .map_or(0, |bytes| u16::from_be_bytes(*bytes)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_cover_what_they_should() {
        let ip = |last| Ipv4Addr::new(10, 0, 0, last);
        let tuple = |source, destination, destination_port| Tuple {
            source,
            destination,
            protocol: 17,
            destination_port,
        };
        // A client (9) asks the host (1) at port 5000, which leads to a task (2) at port 80.
        let original = tuple(ip(9), ip(1), 5000);
        let reply = tuple(ip(2), ip(9), 40_000);
        let published = |protocol, host_port, last| Flow::Published {
            protocol,
            host_port,
            target: ip(last),
        };
        for (flow, covered) in [
            (Flow::Of(ip(2)), true),
            (Flow::Of(ip(9)), true),
            (Flow::Of(ip(3)), false),
            (published(Protocol::Udp, 5000, 2), true),
            (published(Protocol::Tcp, 5000, 2), false),
            (published(Protocol::Udp, 5001, 2), false),
            (published(Protocol::Udp, 5000, 3), false),
        ] {
            assert_eq!(flow.covers(original, reply), covered, "{flow:?}");
        }
    }
}
