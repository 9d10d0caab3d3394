//! What the shim needs of whoever starts processes. The product's is the `start` module; tests of
//! the shim's loop also run it with plain processes, where no privilege is needed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use std::path::Path;

use crate::spec::{ContainerSpec, Limits, Oom, Process, SandboxId, StartError};
use crate::start::{Running, Shared, Starter, Stdio};
use windlass_model::program_fault::ProgramFault;

/// Containers that are prepared for before the sandbox is known: most tasks have no more.
const SLOTS_AHEAD: u32 = 2;

/// Starts the processes of one sandbox. Containers are numbered: a slot holds one at a time.
pub trait Launcher {
    type Running: Launched;

    /// Makes what the sandbox's containers share, once.
    ///
    /// # Errors
    /// The kernel refused; what had been made is removed by [`Launcher::remove_sandbox`].
    fn sandbox(&mut self, limits: &Limits) -> Result<(), StartError>;

    /// Prepares for containers of a sandbox that has no name yet, where that saves time.
    ///
    /// # Errors
    /// Never fatal: [`Launcher::remove_sandbox`] takes away what was made.
    fn park_ahead(&mut self) -> Result<(), StartError> {
        Ok(())
    }

    /// Makes this process independent of whoever started its agent. May take long.
    ///
    /// # Errors
    /// Never fatal: it runs on where it is.
    fn leave_service(&self) -> Result<(), StartError> {
        Ok(())
    }

    /// The sandbox and its private folder, for a launcher that was made ahead of them.
    ///
    /// # Errors
    /// It is of no use then, and another one is made.
    fn adopt(&mut self, _: &SandboxId, _: &Path) -> Result<(), StartError> {
        Ok(())
    }

    /// Gives back what was prepared for containers that did not come.
    fn unpark(&mut self) {}

    /// Prepares a slot ahead of its start, where that saves time.
    ///
    /// # Errors
    /// Never fatal: the start does it itself then.
    fn park(&mut self, slot: u32) -> Result<(), StartError>;

    /// Runs a container's first process; returns when it executes its program.
    ///
    /// # Errors
    /// Exact, and nothing of the container remains.
    fn start(
        &mut self,
        slot: u32,
        spec: &ContainerSpec,
        shared: &Shared<'_>,
        stdio: Stdio,
    ) -> Result<Self::Running, StartError>;

    /// Runs the process that holds the sandbox's own namespaces, in a slot as a container's.
    /// `shm_bytes`: the size of their /dev/shm.
    ///
    /// # Errors
    /// As [`Launcher::start`].
    fn hold(
        &mut self,
        slot: u32,
        shm_bytes: Option<u64>,
        stdio: Stdio,
    ) -> Result<Self::Running, StartError>;

    /// Runs another program inside a running container.
    ///
    /// # Errors
    /// As [`Launcher::start`].
    fn exec(
        &mut self,
        into: &Self::Running,
        spec: &ContainerSpec,
        process: &Process,
        stdio: Stdio,
    ) -> Result<Self::Running, StartError>;

    /// What the kernel killed in the slot for memory. Only before its removal.
    fn oom(&self, slot: u32) -> Option<Oom>;

    /// Kills every process of the slot's container.
    fn kill_all(&self, slot: u32);

    /// Removes what the slot holds. Repeatable; returns what could not be removed.
    fn remove_container(&mut self, slot: u32) -> Vec<StartError>;

    /// Removes what [`Launcher::sandbox`] made. Repeatable.
    fn remove_sandbox(&mut self) -> Vec<StartError>;
}

/// A process that a [`Launcher`] started: a direct child of the shim.
pub trait Launched {
    fn pid(&self) -> i32;
    fn pidfd(&self) -> BorrowedFd<'_>;
    /// The terminal's master side, when the process has one. Taken once.
    fn take_pty(&mut self) -> Option<OwnedFd>;
    /// Why the kernel did not run its program, if so: the process says it in words, and ends.
    fn take_fault(&mut self) -> Option<ProgramFault> {
        None
    }
}

impl Launched for Running {
    fn pid(&self) -> i32 {
        self.pid
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn take_pty(&mut self) -> Option<OwnedFd> {
        self.pty.take()
    }

    fn take_fault(&mut self) -> Option<ProgramFault> {
        self.fault.take()
    }
}

impl Launcher for Starter {
    type Running = Running;

    fn park_ahead(&mut self) -> Result<(), StartError> {
        self.park_ahead(0..SLOTS_AHEAD)
    }

    fn leave_service(&self) -> Result<(), StartError> {
        self.leave_service()
    }

    fn adopt(&mut self, id: &SandboxId, staging: &Path) -> Result<(), StartError> {
        self.adopt(&id.0, staging.to_owned())
    }

    fn unpark(&mut self) {
        self.unpark();
    }

    fn sandbox(&mut self, limits: &Limits) -> Result<(), StartError> {
        self.sandbox(limits)
    }

    fn park(&mut self, slot: u32) -> Result<(), StartError> {
        self.park(slot)
    }

    fn start(
        &mut self,
        slot: u32,
        spec: &ContainerSpec,
        shared: &Shared<'_>,
        stdio: Stdio,
    ) -> Result<Running, StartError> {
        self.start(slot, spec, shared, stdio)
    }

    fn hold(
        &mut self,
        slot: u32,
        shm_bytes: Option<u64>,
        stdio: Stdio,
    ) -> Result<Running, StartError> {
        self.hold(slot, shm_bytes, stdio)
    }

    fn exec(
        &mut self,
        into: &Running,
        spec: &ContainerSpec,
        process: &Process,
        stdio: Stdio,
    ) -> Result<Running, StartError> {
        self.exec(into, spec, process, stdio)
    }

    fn oom(&self, slot: u32) -> Option<Oom> {
        self.oom(slot)
    }

    fn kill_all(&self, slot: u32) {
        self.kill_all(slot);
    }

    fn remove_container(&mut self, slot: u32) -> Vec<StartError> {
        self.remove_container(slot)
    }

    fn remove_sandbox(&mut self) -> Vec<StartError> {
        self.remove_sandbox()
    }
}
