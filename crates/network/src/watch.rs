//! Puts the rules back when another program flushes them, as a firewall's reload does.
//!
//! The kernel tells of every change of every table. A change of ours that we did not make is
//! answered by the whole rule set in one transaction; until it is there the machine is as
//! reachable as that other program left it, so there is no pause before it. If the rules cannot
//! be put back the bridges go down: no network is better than an open one.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Result, Trying};
use crate::kernel::{Kernel, KernelThread};
use crate::limits;
use crate::link;
use crate::netlink::{Attributes, Family, Message, Socket};
use crate::nft;

/// Multicast group 7 of netfilter: changes of nftables.
const NFTABLES_GROUP: u32 = 1 << 6;

/// Watches the tables of one installation.
#[derive(Debug)]
pub(crate) struct Watch {
    socket: AsyncFd<Socket>,
    kernel: KernelThread,
    table: String,
    /// The socket whose changes are our own.
    own: u32,
}

impl Watch {
    pub(crate) fn new(kernel: KernelThread, table: String, own: u32) -> Result<Self> {
        let opening = || "watch the firewall rules".to_owned();
        let socket = Socket::open_in_groups(Family::Netfilter, NFTABLES_GROUP).trying(opening)?;
        tracing::debug!(
            table,
            fd = socket.as_raw_fd(),
            "watching the firewall rules"
        );
        // SAFETY: the socket owns its descriptor, and nothing closes or replaces it before the
        // registration, which owns the socket, is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(io::Error::from)
            .trying(opening)?;
        Ok(Self {
            socket,
            kernel,
            table,
            own,
        })
    }

    /// Runs until dropped.
    pub(crate) async fn run(self) {
        loop {
            match self.changed().await {
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) => tracing::warn!(%error, "missed changes of the firewall rules"),
            }
            tracing::warn!(
                table = self.table,
                "firewall rules were changed; putting them back"
            );
            self.repair().await;
            tokio::time::sleep(limits::REPAIR_PAUSE).await;
        }
    }

    /// Waits for notifications. Answers whether one of them says that our rules changed.
    async fn changed(&self) -> io::Result<bool> {
        let mut ready = self.socket.readable().await?;
        let mut changed = false;
        loop {
            let read = ready.try_io(|socket| {
                socket
                    .get_ref()
                    .read(|message| changed |= self.concerns_us(&message))
            });
            match read {
                Err(_would_block) => return Ok(changed),
                Ok(read) => read?,
            }
        }
    }

    fn concerns_us(&self, message: &Message<'_>) -> bool {
        let family = message.body.first().copied().unwrap_or_default();
        // Every message about a table or what is in it names the table first.
        let table = Attributes::after(message.body, 4).text(1);
        message.kind & 0xff00 == nft::SUBSYSTEM
            && message.port != self.own
            && nft::TableFamily::ALL
                .iter()
                .any(|ours| *ours as u8 == family)
            && table.as_deref() == Some(&self.table)
    }

    async fn repair(&self) {
        let mut closed = false;
        loop {
            let reopen = closed;
            let work = move |kernel: &mut Kernel| {
                let applied = kernel.firewall.apply(&kernel.netfilter);
                if applied.is_err() || reopen {
                    for bridge in kernel.bridges.values() {
                        // The next round tries again, whatever comes of this.
                        let _ = link::set_up(&kernel.route, *bridge, applied.is_ok());
                    }
                }
                applied
            };
            match self.kernel.run(work).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    closed = true;
                    tracing::error!(%error, "firewall rules are missing; the bridges are down");
                }
                Err(_shut_down) => return,
            }
            tokio::time::sleep(limits::REPAIR_RETRY).await;
        }
    }
}
