//! Addresses that were released and may not be used yet.
//!
//! A namespace ends some time after its last process, and its links with it; only then can no
//! packet of the old owner be on its way, and its tracked connections be forgotten for good.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::conntrack::Flow;
use crate::kernel::KernelThread;
use crate::limits;
use crate::link;
use crate::network::{State, forget};

/// The addresses that wait, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Quarantine(Vec<Waiting>);

#[derive(Debug, Clone)]
struct Waiting {
    interface: String,
    address: Ipv4Addr,
    since: Instant,
    told: bool,
}

impl Quarantine {
    pub(crate) fn add(&mut self, interface: String, address: Ipv4Addr) {
        self.0.push(Waiting {
            interface,
            address,
            since: Instant::now(),
            told: false,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says once which addresses wait for long: a process outside of any task holds the namespace.
    fn tell_of_long_waits(&mut self) {
        for waiting in self.0.iter_mut().filter(|waiting| !waiting.told) {
            if waiting.since.elapsed() >= limits::QUARANTINE_LONG {
                waiting.told = true;
                let Waiting {
                    interface, address, ..
                } = waiting;
                tracing::warn!(interface, %address, "the link of a released namespace is still there");
            }
        }
    }
}

/// Clears addresses as their links end.
pub(crate) async fn run(state: Arc<Mutex<State>>, kernel: KernelThread, released: Arc<Notify>) {
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let waiting = lock().quarantine.0.clone();
        if waiting.is_empty() {
            released.notified().await;
            continue;
        }
        let gone = kernel
            .run(move |kernel| {
                let gone = |waiting: &Waiting| {
                    matches!(link::find(&kernel.route, &waiting.interface), Ok(None))
                };
                waiting
                    .into_iter()
                    .filter(gone)
                    .map(|waiting| waiting.address)
                    .collect::<Vec<_>>()
            })
            .await
            .unwrap_or_default();
        let flows = gone.iter().map(|address| Flow::Of(*address)).collect();
        match forget(flows).await {
            Ok(()) => {
                let mut state = lock();
                for address in gone {
                    state
                        .quarantine
                        .0
                        .retain(|waiting| waiting.address != address);
                    state.addresses.clear(address);
                }
            }
            Err(error) => tracing::warn!(%error, "released addresses stay in quarantine"),
        }
        lock().quarantine.tell_of_long_waits();
        tokio::time::sleep(limits::QUARANTINE_LOOK).await;
    }
}
