//! The namespaces that a task's containers share are the sandbox's own: a process that is no
//! container holds them from the first container that asks for them until the sandbox is removed.
//! Were they a container's, its end would kill the others, and later ones could not join.

use super::container::reap;
use super::launch::{Launched, Launcher};
use super::request::{null, stdio_error};
use super::service::Service;
use crate::protocol::Refusal;
use crate::spec::{ContainerSpec, Namespace};
use crate::start::Stdio;

pub(crate) struct Holder<R> {
    /// Numbered among the containers, whose groups lie beside its own.
    pub(super) slot: u32,
    /// None when it was killed, by want of memory or by hand, and its namespaces are gone.
    pub(super) running: Option<R>,
}

impl<L: Launcher> Service<'_, L> {
    /// Starts it when the container needs it and it is not there.
    pub(super) fn hold_for(&mut self, spec: &ContainerSpec) -> Result<(), Refusal> {
        let is_wanted = [&spec.pid, &spec.ipc].contains(&&Namespace::Sandbox);
        let running = self.holder.as_ref().map(|holder| holder.running.is_some());
        if !is_wanted || running == Some(true) {
            return Ok(());
        }
        let slot = match &self.holder {
            Some(holder) => holder.slot,
            None => self.next_slot(),
        };
        let Some((_, launcher)) = &mut self.sandbox else {
            return Err(Refusal::NoSandbox);
        };
        if running.is_some() {
            // The new start meets what cannot be removed, and says so.
            let _ = launcher.remove_container(slot);
        }
        let stdio = Stdio {
            stdin: null().map_err(stdio_error)?,
            stdout: null().map_err(stdio_error)?,
            stderr: null().map_err(stdio_error)?,
        };
        let running = Some(launcher.hold(slot, spec.shm_bytes, stdio)?);
        self.holder = Some(Holder { slot, running });
        Ok(())
    }

    pub(super) fn holder_ended(&mut self) {
        if let Some(holder) = &mut self.holder
            && holder.running.as_ref().is_some_and(|r| reap(r).is_some())
        {
            holder.running = None;
        }
    }

    pub(super) fn kill_holder(&self) {
        if let (Some(holder), Some((_, launcher))) = (&self.holder, &self.sandbox)
            && let Some(running) = &holder.running
        {
            // It may have ended on its own: then there is nothing to signal.
            let kill = rustix::process::Signal::KILL;
            let _ = rustix::process::pidfd_send_signal(running.pidfd(), kill);
            launcher.kill_all(holder.slot);
        }
    }
}
