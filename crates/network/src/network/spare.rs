//! Networks made ahead of demand: a namespace with its interface on the bridge, of which no sandbox
//! knows yet. Making one takes the kernel some two milliseconds, which a start need not wait for.
//!
//! A spare is held by a descriptor alone: with this process it goes, and its link with it.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::attach::make_link;
use super::{Attached, State, blocking};
use crate::error::Result;
use crate::kernel::{Kernel, KernelThread};
use crate::options::{Installation, Subnet};
use crate::{limits, namespace};

#[derive(Debug)]
pub(crate) struct Spare {
    pub(super) namespace: File,
    pub(super) attached: Attached,
}

/// Keeps as many spares as are wanted.
pub(super) struct Filler {
    pub(super) installation: Installation,
    pub(super) subnet: Subnet,
    pub(super) kernel: KernelThread,
    pub(super) state: Arc<Mutex<State>>,
    /// Tells that a spare was taken.
    pub(super) taken: Arc<Notify>,
    pub(super) wanted: usize,
}

impl Filler {
    pub(super) async fn run(self) {
        loop {
            if self.has_enough() {
                self.taken.notified().await;
                // Making one would take the processors from the start that has just taken one.
                if !self.state().spares.is_empty() {
                    tokio::time::sleep(limits::SPARE_PAUSE).await;
                }
                continue;
            }
            match self.make().await {
                Ok(spare) => self.state().spares.push(spare),
                Err(error) => {
                    // A start makes its own then, and tells what is wrong.
                    tracing::warn!(%error, "no network could be made ahead of demand");
                    tokio::time::sleep(limits::SPARE_RETRY).await;
                }
            }
        }
    }

    /// The last addresses are for sandboxes: one that is being made ahead cannot be given to them yet.
    fn has_enough(&self) -> bool {
        let state = self.state();
        let few = u64::try_from(self.wanted).unwrap_or(u64::MAX);
        state.spares.len() >= self.wanted || state.addresses.free() <= few
    }

    async fn make(&self) -> Result<Spare> {
        let (namespace, socket) = blocking(namespace::create).await?;
        let attached = self
            .state()
            .plan_link(&self.installation, self.subnet, None)?;
        let planned = attached.clone();
        let making = move |kernel: &mut Kernel| {
            make_link(kernel, &planned, namespace.as_fd(), &socket).map(|()| namespace)
        };
        match self.kernel.run(making).await.and_then(|made| made) {
            Ok(namespace) => Ok(Spare {
                namespace,
                attached,
            }),
            Err(error) => {
                self.state().forget_link(&attached);
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
