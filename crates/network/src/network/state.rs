//! What is known of sandboxes: their links and addresses, and who waits for what.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Attached;
use super::spare::Spare;
use crate::addresses::Addresses;
use crate::error::Result;
use crate::kernel::mac;
use crate::netlink::Socket;
use crate::options::{Installation, Subnet};
use crate::ports::Ports;
use crate::quarantine::Quarantine;

/// Name of a task's interface.
const TASK_INTERFACE: &str = "eth0";

/// What is known of sandboxes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) addresses: Addresses,
    pub(crate) quarantine: Quarantine,
    pub(super) ports: Ports,
    pub(super) sandboxes: BTreeMap<String, Sandbox>,
    pub(super) spares: Vec<Spare>,
}

#[derive(Debug, Default)]
pub(super) struct Sandbox {
    /// Left from the namespace's making, to save entering it again.
    pub(super) socket: Option<Socket>,
    pub(super) attached: Option<Attached>,
}

impl State {
    /// Takes an address, this one or any, for a link that is going to be made.
    pub(super) fn plan_link(
        &mut self,
        installation: &Installation,
        subnet: Subnet,
        address: Option<Ipv4Addr>,
    ) -> Result<Attached> {
        let address = match address {
            Some(address) => self.addresses.take_exact(address).map(|()| address)?,
            None => self.addresses.take()?,
        };
        let part = subnet.part(subnet.part_of(address));
        Ok(Attached {
            host_interface: link_name(installation, subnet, address),
            interface: TASK_INTERFACE.to_owned(),
            mac: mac(address),
            address,
            prefix: part.prefix(),
            gateway: part.gateway(),
        })
    }

    /// A link is on its way out; its address waits for its end.
    pub(super) fn forget_link(&mut self, attached: &Attached) {
        self.addresses.release(attached.address);
        let interface = attached.host_interface.clone();
        self.quarantine.add(interface, attached.address);
    }
}

/// Name of the host's end of a link. It holds the address, so that the kernel itself refuses to
/// give an address away while its last link lives.
fn link_name(installation: &Installation, subnet: Subnet, address: Ipv4Addr) -> String {
    let host = address.to_bits() & !subnet.mask();
    format!("{}{host:x}", installation.link_prefix())
}
