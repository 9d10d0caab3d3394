//! Giving a namespace its interface: a link with an address of its own on the bridge that carries it.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use super::{Attached, Network, blocking};
use crate::error::{Error, Result, Trying};
use crate::kernel::Kernel;
use crate::limits;
use crate::link::{self, Pair};
use crate::netlink::Socket;

impl Network {
    /// Gives a namespace an interface on the bridge, with this address or any.
    ///
    /// Nothing but its own addresses passes the interface. If this fails or its future is dropped,
    /// release the namespace: it may be attached in part.
    ///
    /// # Errors
    /// [`Error::NoNamespace`], [`Error::AlreadyAttached`], [`Error::NoAddress`],
    /// [`Error::Address`], [`Error::BridgeFull`], or what the kernel refuses.
    pub async fn attach(&self, name: &str, address: Option<Ipv4Addr>) -> Result<Attached> {
        let namespace = self.0.folder.file(name)?;
        let (attached, socket) = self.plan_attach_in_time(name, address).await?;
        let socket = match socket {
            Some(socket) => socket,
            None => {
                let (folder, owned) = (self.0.folder.clone(), name.to_owned());
                blocking(move || folder.socket(&owned)).await?
            }
        };
        let planned = attached.clone();
        self.0
            .kernel
            .run(move |kernel| make_link(kernel, &planned, namespace.as_fd(), &socket))
            .await??;
        Ok(attached)
    }

    /// [`Self::plan_attach`]. Where every address is taken or waits for the end of a link, it waits for
    /// one of those, which is a matter of moments.
    async fn plan_attach_in_time(
        &self,
        name: &str,
        address: Option<Ipv4Addr>,
    ) -> Result<(Attached, Option<Socket>)> {
        let begun = tokio::time::Instant::now();
        loop {
            match self.plan_attach(name, address) {
                Err(Error::NoAddress { quarantined, .. })
                    if quarantined > 0 && begun.elapsed() < limits::ADDRESS_WAIT =>
                {
                    tokio::time::sleep(limits::QUARANTINE_LOOK).await;
                }
                other => return other,
            }
        }
    }

    fn plan_attach(
        &self,
        name: &str,
        address: Option<Ipv4Addr>,
    ) -> Result<(Attached, Option<Socket>)> {
        let mut state = self.state();
        let known = state.sandboxes.get(name);
        if known.is_some_and(|sandbox| sandbox.attached.is_some()) {
            return Err(Error::AlreadyAttached(name.to_owned()));
        }
        let attached = state.plan_link(&self.0.installation, self.0.subnet, address)?;
        let sandbox = state.sandboxes.entry(name.to_owned()).or_default();
        sandbox.attached = Some(attached.clone());
        Ok((attached, sandbox.socket.take()))
    }
}

pub(super) fn make_link(
    kernel: &mut Kernel,
    attached: &Attached,
    namespace: std::os::fd::BorrowedFd<'_>,
    inside: &Socket,
) -> Result<()> {
    let (bridge_index, bridge) = kernel.bridge_of(attached.address)?;
    let attaching = || format!("attach {} to bridge {bridge}", attached.host_interface);
    let Kernel {
        firewall,
        netfilter,
        ..
    } = kernel;
    firewall
        .add_link(
            netfilter,
            &attached.host_interface,
            attached.mac,
            attached.address,
        )
        .trying(attaching)?;
    let pair = Pair {
        host_name: &attached.host_interface,
        bridge: bridge_index,
        mtu: kernel.mtu,
        task_name: &attached.interface,
        task_mac: attached.mac,
        task_namespace: namespace,
    };
    match link::add_pair(&kernel.route, &pair) {
        Err(error) if error.errno() == Some(libc::EXFULL) => return Err(Error::BridgeFull(bridge)),
        other => other.trying(attaching)?,
    }
    let found = link::find(inside, &attached.interface).trying(attaching)?;
    let index = found
        .ok_or_else(|| Error::NoNamespace(attached.interface.clone()))?
        .index;
    let Attached {
        address,
        prefix,
        gateway,
        ..
    } = *attached;
    link::configure(inside, index, address, prefix, gateway).trying(attaching)?;
    if !link::open_port(&kernel.route, &attached.host_interface).trying(attaching)? {
        tracing::debug!(
            interface = attached.host_interface,
            "the bridge is slow to open a port"
        );
    }
    Ok(())
}
