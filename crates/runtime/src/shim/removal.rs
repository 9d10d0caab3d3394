//! The end of a sandbox: everything is killed, waited for, and removed, and only then is the shim
//! done.

use super::clock;
use super::launch::Launcher;
use super::service::{FAREWELL_MS, RETRY_MS, Service};
use crate::protocol::Reply;

/// A removal is answered with what is left after that long. The shim stays then, and may be asked
/// again.
const REMOVAL_MS: u64 = 20_000;
const ASKERS_MAX: usize = 64;

pub(crate) struct Removal {
    /// Who asked, by connection and request: an agent may come back and ask again.
    askers: Vec<(u64, u64)>,
    pub(super) retry_at_ms: u64,
    give_up_ms: u64,
}

impl Removal {
    pub(crate) fn new() -> Removal {
        let now = clock::steady_ms();
        Removal {
            askers: Vec::new(),
            retry_at_ms: now,
            give_up_ms: now + REMOVAL_MS,
        }
    }

    pub(crate) fn add_asker(&mut self, connection: u64, request: u64) {
        // A peer that repeats itself without end has no claim on as many answers.
        if self.askers.len() < ASKERS_MAX {
            self.askers.push((connection, request));
        }
    }
}

impl<L: Launcher> Service<'_, L> {
    /// Everything has been killed; once it is dead it can be removed.
    pub(super) fn go_on_removing(&mut self, now: u64) {
        let mut left = Vec::new();
        for container in self.containers.values() {
            if container.live.is_some() {
                left.push(format!("container {} has not ended", container.state.name));
            }
        }
        if self.holder().is_some() {
            left.push("the process that holds its namespaces has not ended".to_owned());
        }
        if left.is_empty()
            && let Some((_, launcher)) = &mut self.sandbox
        {
            let holder = self.holder.as_ref().map(|holder| holder.slot);
            for slot in self.containers.keys().copied().chain(holder) {
                let kept = launcher.remove_container(slot);
                left.extend(kept.iter().map(ToString::to_string));
            }
            if left.is_empty() {
                left.extend(launcher.remove_sandbox().iter().map(ToString::to_string));
            }
        }
        let Some(removal) = &mut self.removal else {
            return;
        };
        if !left.is_empty() && now < removal.give_up_ms {
            removal.retry_at_ms = now + RETRY_MS;
            return;
        }
        let askers = std::mem::take(&mut removal.askers);
        self.removal = None;
        if left.is_empty() {
            self.containers.clear();
            self.holder = None;
            self.farewell_ms = Some(now + FAREWELL_MS);
        }
        let reply = Reply::Removed(left);
        for (connection, request) in askers {
            self.answer(connection, request, &reply);
        }
    }
}
