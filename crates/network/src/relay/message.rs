//! What server and relay say to each other: one message a packet, all of one length.
//!
//! Both may be of different builds: a relay outlives the server that started it. So the first byte
//! is the version, and a message of another version is answered by ending the relay and starting
//! the own one.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::ports::{PortKey, Protocol};

/// Changes with the meaning of any byte.
const VERSION: u8 = 1;
/// Length of every message, in bytes.
const LENGTH: usize = 16;
/// A port has one socket for IPv4 and one for `::1`.
pub(super) const SOCKETS_MAX: usize = 2;

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Verb {
    /// To the relay: carry what reaches the sockets that come along to the target.
    Hold = 1,
    /// To the relay: close a port's sockets. Answered by the same when they are closed.
    Release = 2,
    /// To the relay: name what is held. Answered by a `Hold` for each port, then by a `List`.
    List = 3,
    /// To the relay: end, whatever is held. Answered by the end of the connection.
    End = 4,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) verb: Verb,
    pub(super) key: PortKey,
    pub(super) target: SocketAddrV4,
}

impl Message {
    /// A message that names no port.
    pub(super) fn plain(verb: Verb) -> Self {
        let key = PortKey {
            protocol: Protocol::Tcp,
            address: None,
            port: 0,
        };
        let target = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        Self { verb, key, target }
    }

    fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1] = self.verb as u8;
        bytes[2] = self.key.protocol as u8;
        if let Some(address) = self.key.address {
            bytes[3] = 1;
            bytes[4..8].copy_from_slice(&address.octets());
        }
        bytes[8..10].copy_from_slice(&self.key.port.to_be_bytes());
        bytes[10..14].copy_from_slice(&self.target.ip().octets());
        bytes[14..16].copy_from_slice(&self.target.port().to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let [
            version,
            verb,
            protocol,
            has_address,
            a,
            b,
            c,
            d,
            p,
            q,
            e,
            f,
            g,
            h,
            r,
            s,
        ] = *bytes;
        if version != VERSION {
            return None;
        }
        let verb = match verb {
            1 => Verb::Hold,
            2 => Verb::Release,
            3 => Verb::List,
            4 => Verb::End,
            _ => return None,
        };
        let protocol = match protocol {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            _ => return None,
        };
        let key = PortKey {
            protocol,
            address: (has_address == 1).then(|| Ipv4Addr::new(a, b, c, d)),
            port: u16::from_be_bytes([p, q]),
        };
        let target = SocketAddrV4::new(Ipv4Addr::new(e, f, g, h), u16::from_be_bytes([r, s]));
        Some(Self { verb, key, target })
    }
}

/// Sends a message and the sockets that go with it.
pub(super) fn send(to: impl AsFd, message: &Message, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let bytes = message.encode();
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(to, &[IoSlice::new(&bytes)], &mut ancillary, flags)?;
    Ok(())
}

/// Receives a message with its sockets; `None` at the end of the connection.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what is no message of this version; else the kernel's.
pub(super) fn receive(from: impl AsFd) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // One more than a message has, so that a longer one is seen to be longer.
    let mut bytes = [0; LENGTH + 1];
    let received = rustix::net::recvmsg(
        from,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut sockets = Vec::new();
    for item in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = item {
            sockets.extend(descriptors);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    match Message::decode(bytes.get(..received.bytes).unwrap_or_default()) {
        Some(message) => Ok(Some((message, sockets))),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        for (verb, protocol, address) in [
            (Verb::Hold, Protocol::Tcp, None),
            (Verb::Release, Protocol::Udp, Some(Ipv4Addr::LOCALHOST)),
            (Verb::List, Protocol::Tcp, Some(Ipv4Addr::UNSPECIFIED)),
            (Verb::End, Protocol::Udp, None),
        ] {
            let message = Message {
                verb,
                key: PortKey {
                    protocol,
                    address,
                    port: 8080,
                },
                target: SocketAddrV4::new(Ipv4Addr::new(10, 77, 1, 2), 65_535),
            };
            let mut bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Some(message));
            assert_eq!(Message::decode(&bytes[1..]), None);
            bytes[0] += 1;
            assert_eq!(Message::decode(&bytes), None, "another version");
        }
    }
}
