//! Links, addresses and routes, over `NETLINK_ROUTE`.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::netlink::{ACK, Attributes, Batch, DUMP, EncodeError, Encoder, Socket, SocketError};
use crate::options::Subnet;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;

const CREATE_EXCLUSIVE: u16 = 0x400 | 0x200;
const CREATE: u16 = 0x400;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;

const UP: u32 = 1;
const INET: u8 = libc::AF_INET as u8;

/// A link as the kernel describes it.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
    pub(crate) mtu: u32,
}

/// An IPv4 address of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkAddress {
    pub(crate) index: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
}

/// An IPv4 route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) index: Option<u32>,
    pub(crate) destination: Subnet,
    /// The kernel's own, for local and broadcast addresses.
    pub(crate) is_local: bool,
}

/// One end on the host's bridge, the other in a task's namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) bridge: u32,
    pub(crate) mtu: u32,
    pub(crate) task_name: &'a str,
    pub(crate) task_mac: [u8; 6],
    pub(crate) task_namespace: BorrowedFd<'a>,
}

/// Makes a bridge, up, with this hardware address.
pub(crate) fn add_bridge(
    socket: &Socket,
    name: &str,
    mac: [u8; 6],
    mtu: u32,
) -> Result<(), SocketError> {
    const MULTICAST_SNOOPING: u16 = 23;
    let mut batch = Batch::new();
    batch.message(NEW_LINK, CREATE_EXCLUSIVE | ACK, |m| {
        m.raw(&link_header(0, UP));
        m.text(IFLA_IFNAME, name)?;
        m.attribute(IFLA_ADDRESS, &mac)?;
        m.u32_ne(IFLA_MTU, mtu)?;
        m.nested(IFLA_LINKINFO, |m| {
            m.text(1, "bridge")?;
            m.nested(2, |m| m.attribute(MULTICAST_SNOOPING, &[0]))
        })
    })?;
    socket.execute(&batch)
}

/// Makes a pair of links, both down: the host's end on the bridge, the other in the namespace.
pub(crate) fn add_pair(socket: &Socket, pair: &Pair<'_>) -> Result<(), SocketError> {
    const PEER: u16 = 1;
    let mut batch = Batch::new();
    batch.message(NEW_LINK, CREATE_EXCLUSIVE | ACK, |m| {
        m.raw(&link_header(0, 0));
        m.text(IFLA_IFNAME, pair.host_name)?;
        m.u32_ne(IFLA_MTU, pair.mtu)?;
        m.u32_ne(IFLA_MASTER, pair.bridge)?;
        m.nested(IFLA_LINKINFO, |m| {
            m.text(1, "veth")?;
            m.nested(2, |m| m.nested(PEER, |m| peer(m, pair)))
        })
    })?;
    batch.message(NEW_LINK, ACK, |m| bridge_port(m, pair.host_name))?;
    socket.execute(&batch)
}

/// Brings the host's end up, whose other end is up already. Answers whether the bridge passes its
/// frames; until then the task's first packets are lost, and it would wait a second to repeat them.
pub(crate) fn open_port(socket: &Socket, name: &str) -> Result<bool, SocketError> {
    const TRIES: u32 = 40;
    const PAUSE: std::time::Duration = std::time::Duration::from_micros(250);
    let mut batch = Batch::new();
    batch.message(NEW_LINK, ACK, |m| {
        m.raw(&link_header(0, UP));
        m.text(IFLA_IFNAME, name)
    })?;
    socket.execute(&batch)?;
    let question = question(name)?;
    for _ in 0..TRIES {
        // Newer kernels settle the link's state when they are asked for it; older ones do it in
        // their own time.
        if is_forwarding(&socket.query(&question)?) {
            return Ok(true);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(false)
}

fn is_forwarding(link: &[u8]) -> bool {
    const SLAVE_DATA: u16 = 5;
    const PORT_STATE: u16 = 1;
    const FORWARDING: &[u8] = &[3];
    let info = Attributes::after(link, 16).nested(IFLA_LINKINFO);
    let state = info.and_then(|info| info.nested(SLAVE_DATA)?.get(PORT_STATE));
    state == Some(FORWARDING)
}

fn peer(m: &mut Encoder<'_>, pair: &Pair<'_>) -> Result<(), EncodeError> {
    // Down: the kernel refuses to bring up an end whose other end is still being made.
    m.raw(&link_header(0, 0));
    m.text(IFLA_IFNAME, pair.task_name)?;
    m.u32_ne(IFLA_MTU, pair.mtu)?;
    m.attribute(IFLA_ADDRESS, &pair.task_mac)?;
    let namespace = pair.task_namespace.as_raw_fd();
    m.attribute(IFLA_NET_NS_FD, &namespace.to_ne_bytes())
}

/// Settings of the host's end.
fn bridge_port(m: &mut Encoder<'_>, name: &str) -> Result<(), EncodeError> {
    const HAIRPIN: u16 = 4;
    const INET6_ADDRESS_MODE: u16 = 8;
    const NO_ADDRESS: u8 = 1;
    m.raw(&link_header(0, 0));
    m.text(IFLA_IFNAME, name)?;
    m.nested(IFLA_LINKINFO, |m| {
        m.text(4, "bridge")?;
        // A container that calls its own published port must get the frame back on the link it
        // came by; where bridged frames pass the IP firewall, the bridge would else swallow it.
        m.nested(5, |m| m.attribute(HAIRPIN, &[1]))
    })?;
    // No link-local address, and no traffic about one.
    m.nested(IFLA_AF_SPEC, |m| {
        m.nested(libc::AF_INET6 as u16, |m| {
            m.attribute(INET6_ADDRESS_MODE, &[NO_ADDRESS])
        })
    })
}

/// Brings a link up or down.
pub(crate) fn set_up(socket: &Socket, index: u32, up: bool) -> Result<(), SocketError> {
    let mut batch = Batch::new();
    batch.message(NEW_LINK, ACK, |m| {
        let mut header = link_header(index, if up { UP } else { 0 });
        header[12..16].copy_from_slice(&UP.to_ne_bytes());
        m.raw(&header);
        Ok(())
    })?;
    socket.execute(&batch)
}

/// Deletes a link. One that is gone is no error: those of a namespace that ends go by themselves, and
/// may do so just now.
pub(crate) fn delete(socket: &Socket, index: u32) -> Result<(), SocketError> {
    let mut batch = Batch::new();
    batch.message(DELETE_LINK, ACK, |m| {
        m.raw(&link_header(index, 0));
        Ok(())
    })?;
    match socket.execute(&batch) {
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

/// The link with this name, if there is one.
pub(crate) fn find(socket: &Socket, name: &str) -> Result<Option<Link>, SocketError> {
    match socket.query(&question(name)?) {
        Ok(body) => Ok(read_link(&body)),
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn question(name: &str) -> Result<Batch, EncodeError> {
    let mut batch = Batch::new();
    batch.message(GET_LINK, 0, |m| {
        m.raw(&link_header(0, 0));
        m.text(IFLA_IFNAME, name)
    })?;
    Ok(batch)
}

/// All links.
pub(crate) fn list(socket: &Socket) -> Result<Vec<Link>, SocketError> {
    let found = dump(socket, GET_LINK, &link_header(0, 0))?;
    Ok(found.iter().filter_map(|body| read_link(body)).collect())
}

fn read_link(body: &[u8]) -> Option<Link> {
    let attributes = Attributes::after(body, 16);
    Some(Link {
        index: crate::netlink::read_u32_ne(body.get(4..)?)?,
        name: attributes.text(IFLA_IFNAME)?,
        kind: attributes
            .nested(IFLA_LINKINFO)
            .and_then(|info| info.text(1)),
        mtu: attributes.u32_ne(IFLA_MTU).unwrap_or(1500),
    })
}

/// Adds an address; it is no error if the link has it already.
pub(crate) fn add_address(
    socket: &Socket,
    index: u32,
    address: Ipv4Addr,
    prefix: u8,
) -> Result<(), SocketError> {
    let mut batch = Batch::new();
    batch.message(NEW_ADDRESS, CREATE | ACK, |m| {
        new_address(m, index, address, prefix)
    })?;
    match socket.execute(&batch) {
        Err(error) if error.errno() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// Brings a task's link up and gives it its address and the way out, in one send.
pub(crate) fn configure(
    socket: &Socket,
    index: u32,
    address: Ipv4Addr,
    prefix: u8,
    gateway: Ipv4Addr,
) -> Result<(), SocketError> {
    const MAIN: u8 = 254;
    const BOOT: u8 = 3;
    const UNICAST: u8 = 1;
    let mut batch = Batch::new();
    batch.message(NEW_LINK, ACK, |m| {
        m.raw(&link_header(index, UP));
        Ok(())
    })?;
    batch.message(NEW_ADDRESS, CREATE_EXCLUSIVE | ACK, |m| {
        new_address(m, index, address, prefix)
    })?;
    batch.message(NEW_ROUTE, CREATE_EXCLUSIVE | ACK, |m| {
        m.raw(&[INET, 0, 0, 0, MAIN, BOOT, 0, UNICAST, 0, 0, 0, 0]);
        m.attribute(5, &gateway.octets())
    })?;
    socket.execute(&batch)
}

fn new_address(
    m: &mut Encoder<'_>,
    index: u32,
    address: Ipv4Addr,
    prefix: u8,
) -> Result<(), EncodeError> {
    m.raw(&[INET, prefix, 0, 0]);
    m.raw(&index.to_ne_bytes());
    m.attribute(2, &address.octets())?;
    m.attribute(1, &address.octets())?;
    let broadcast = Subnet::around(address, prefix).broadcast();
    m.attribute(4, &broadcast.octets())
}

pub(crate) fn delete_address(socket: &Socket, address: LinkAddress) -> Result<(), SocketError> {
    let mut batch = Batch::new();
    batch.message(DELETE_ADDRESS, ACK, |m| {
        m.raw(&[INET, address.prefix, 0, 0]);
        m.raw(&address.index.to_ne_bytes());
        m.attribute(2, &address.address.octets())
    })?;
    socket.execute(&batch)
}

/// All IPv4 addresses of this machine.
pub(crate) fn addresses(socket: &Socket) -> Result<Vec<LinkAddress>, SocketError> {
    let found = dump(socket, GET_ADDRESS, &[INET, 0, 0, 0, 0, 0, 0, 0])?;
    let read = |body: &Vec<u8>| {
        let attributes = Attributes::after(body, 8);
        let octets: [u8; 4] = attributes.get(2).or(attributes.get(1))?.try_into().ok()?;
        Some(LinkAddress {
            index: crate::netlink::read_u32_ne(body.get(4..)?)?,
            address: octets.into(),
            prefix: *body.get(1)?,
        })
    };
    Ok(found.iter().filter_map(read).collect())
}

/// All IPv4 routes of this machine, of every table.
pub(crate) fn routes(socket: &Socket) -> Result<Vec<Route>, SocketError> {
    const LOCAL_TABLE: u8 = 255;
    let found = dump(socket, GET_ROUTE, &[INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    let read = |body: &Vec<u8>| {
        let attributes = Attributes::after(body, 12);
        let destination = match attributes.get(1) {
            Some(octets) => <[u8; 4]>::try_from(octets).ok()?.into(),
            None => Ipv4Addr::UNSPECIFIED,
        };
        Some(Route {
            index: attributes.u32_ne(4),
            destination: Subnet::around(destination, *body.get(1)?),
            is_local: *body.get(4)? == LOCAL_TABLE,
        })
    };
    Ok(found.iter().filter_map(read).collect())
}

fn dump(socket: &Socket, kind: u16, header: &[u8]) -> Result<Vec<Vec<u8>>, SocketError> {
    let mut batch = Batch::new();
    batch.message(kind, DUMP, |m| {
        m.raw(header);
        Ok(())
    })?;
    Ok(socket
        .dump(&batch)?
        .into_iter()
        .map(|(_, body)| body)
        .collect())
}

/// The structure that begins messages about links. Flags given are also those to change.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}
