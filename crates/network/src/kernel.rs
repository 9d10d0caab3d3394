//! The one thread that changes links, addresses and rules of the host.
//!
//! The kernel does all such changes under one lock, so more threads would add nothing; and a
//! change that waits for that lock must not hold up a thread that serves others.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result, Trying};
use crate::firewall::{Firewall, Scope};
use crate::limits;
use crate::link;
use crate::neighbours::Neighbours;
use crate::netlink::{Family, Socket};
use crate::options::{Installation, Subnet};

impl Kernel {
    /// Index and name of the bridge that carries this address; made if it is not there yet.
    pub(crate) fn bridge_of(&mut self, address: Ipv4Addr) -> Result<(u32, String)> {
        let Scope {
            installation,
            subnet,
            ..
        } = self.firewall.scope();
        let number = subnet.part_of(address);
        let (name, part) = (installation.bridge_of(number), subnet.part(number));
        if let Some(index) = self.bridges.get(&number) {
            return Ok((*index, name));
        }
        // Rules first: nothing passes a bridge that they do not know.
        self.firewall
            .add_bridge(&self.netfilter, &name)
            .trying(|| format!("put bridge {name} under the firewall rules"))?;
        let index = open_bridge(&self.route, &name, part, self.mtu)?;
        self.bridges.insert(number, index);
        self.neighbours.raise();
        tracing::info!(bridge = name, range = %part, "another bridge for tasks");
        Ok((index, name))
    }
}

type Job = Box<dyn FnOnce(&mut Kernel) + Send>;

/// Sockets into the kernel, and what this crate told it.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) route: Socket,
    pub(crate) netfilter: Socket,
    pub(crate) firewall: Firewall,
    /// The installation's bridges: index of each by the part of the range that it carries.
    pub(crate) bridges: BTreeMap<u32, u32>,
    pub(crate) neighbours: Neighbours,
    /// Largest packet that leaves the host whole, in bytes; links of tasks have the same.
    pub(crate) mtu: u32,
}

/// Sends work to the thread. The thread ends when the last of these is dropped.
#[derive(Debug, Clone)]
pub(crate) struct KernelThread(mpsc::Sender<Job>);

impl KernelThread {
    /// Starts the thread in the caller's network namespace.
    pub(crate) fn start(mut kernel: Kernel) -> Result<Self> {
        let (sender, mut jobs) = mpsc::channel::<Job>(limits::KERNEL_REQUESTS);
        std::thread::Builder::new()
            .name("wl-network".into())
            .spawn(move || {
                while let Some(job) = jobs.blocking_recv() {
                    job(&mut kernel);
                }
            })
            .trying(|| "start the network thread".into())?;
        Ok(Self(sender))
    }

    /// Has work done. It is done to its end even if the caller stops waiting.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Kernel) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job = move |kernel: &mut Kernel| {
            let _ = answer.send(work(kernel));
        };
        self.0
            .send(Box::new(job))
            .await
            .map_err(|_| Error::ShutDown)?;
        answered.await.map_err(|_| Error::ShutDown)
    }
}

/// Refuses a range by which this machine already reaches others.
pub(crate) fn check_overlap(
    route: &Socket,
    subnet: Subnet,
    installation: &Installation,
) -> Result<()> {
    let is_ours =
        |name: Option<&str>| name.is_some_and(|name| installation.part_of_bridge(name).is_some());
    let looking = || "look at this machine's routes".to_owned();
    let links = link::list(route).trying(looking)?;
    let name_of = |index: u32| {
        links
            .iter()
            .find(|link| link.index == index)
            .map(|link| &*link.name)
    };
    let refuse = |what: String, interface: Option<&str>| {
        Err(Error::SubnetOverlap {
            subnet: subnet.to_string(),
            what,
            interface: interface.unwrap_or("(none)").to_owned(),
        })
    };
    for found in link::addresses(route).trying(looking)? {
        let network = Subnet::around(found.address, found.prefix);
        let interface = name_of(found.index);
        if !is_ours(interface) && network.overlaps(subnet) {
            return refuse(
                format!("address {}/{}", found.address, found.prefix),
                interface,
            );
        }
    }
    for found in link::routes(route).trying(looking)? {
        let interface = found.index.and_then(name_of);
        // The default route overlaps everything and means nothing.
        let counts = !found.is_local && found.destination.prefix() > 0;
        if counts && !is_ours(interface) && found.destination.overlaps(subnet) {
            return refuse(format!("route {}", found.destination), interface);
        }
    }
    Ok(())
}

/// The size of packets on the way out: that of the default route's interface.
pub(crate) fn outer_mtu(route: &Socket) -> Result<u32> {
    const USUAL: u32 = 1500;
    let looking = || "look at this machine's default route".to_owned();
    let default = link::routes(route)
        .trying(looking)?
        .into_iter()
        .find(|route| !route.is_local && route.destination.prefix() == 0);
    let Some(index) = default.and_then(|route| route.index) else {
        return Ok(USUAL);
    };
    let links = link::list(route).trying(looking)?;
    Ok(links
        .iter()
        .find(|link| link.index == index)
        .map_or(USUAL, |link| link.mtu))
}

/// Makes a bridge, or takes the one that is there, and gives it the address of its range's gateway.
pub(crate) fn open_bridge(route: &Socket, name: &str, subnet: Subnet, mtu: u32) -> Result<u32> {
    let making = || format!("make bridge {name}");
    if link::find(route, name).trying(making)?.is_none() {
        link::add_bridge(route, name, mac(subnet.gateway()), mtu).trying(making)?;
    }
    let found = link::find(route, name).trying(making)?;
    let Some(bridge) = found.filter(|link| link.kind.as_deref() == Some("bridge")) else {
        return Err(Error::NotABridge {
            name: name.to_owned(),
        });
    };
    // IPv6 is off before the bridge can hear anything.
    bridge_sysctls(name)?;
    for address in link::addresses(route).trying(making)? {
        // Left from a start with another range.
        let is_other = address.address != subnet.gateway() || address.prefix != subnet.prefix();
        if address.index == bridge.index && is_other {
            link::delete_address(route, address).trying(making)?;
        }
    }
    link::add_address(route, bridge.index, subnet.gateway(), subnet.prefix()).trying(making)?;
    link::set_up(route, bridge.index, true).trying(making)?;
    Ok(bridge.index)
}

/// The hardware address that belongs to an address of ours: locally administered, unicast.
pub(crate) fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x57, a, b, c, d]
}

fn bridge_sysctls(bridge: &str) -> Result<()> {
    for (path, value) in [
        (
            format!("/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6"),
            "1",
        ),
        (format!("/proc/sys/net/ipv6/conf/{bridge}/accept_ra"), "0"),
        (format!("/proc/sys/net/ipv4/conf/{bridge}/forwarding"), "1"),
        (
            format!("/proc/sys/net/ipv4/conf/{bridge}/accept_redirects"),
            "0",
        ),
        (
            format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"),
            "0",
        ),
    ] {
        match std::fs::write(&path, value) {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.trying(|| format!("write {value} to {path}"))?,
        }
    }
    Ok(())
}

/// Opens the sockets of the kernel thread.
pub(crate) fn sockets() -> Result<(Socket, Socket)> {
    let opening = || "open a netlink socket".to_owned();
    let route = Socket::open(Family::Route).trying(opening)?;
    let netfilter = Socket::open(Family::Netfilter).trying(opening)?;
    Ok((route, netfilter))
}
