//! Runs containers. One *sandbox* is one task: a shim process, a parent cgroup and the containers
//! in them.
//!
//! Scope: from a complete [`spec::ContainerSpec`] to a running process and its exit status, and
//! what the kernel holds for it. Not here: images, networks and the decision what runs when; the
//! agent hands over layers, a network namespace and finished values.
//!
//! The layers, outermost first:
//! - [`Runtime`]: what the agent uses. [`embedded`] talks to shims; [`fake`] is for tests.
//! - [`shim`]: the process that owns one sandbox: starts, reaps, stops, keeps the logs, and
//!   outlives the agent. Single-threaded, no tokio.
//! - [`start`]: the sequence of system calls from a spec to `execve`.
//!
//! Between them, plain data: [`spec`] goes down, [`state`] comes back, [`protocol`] carries both over
//! the shim's socket.

pub mod embedded;
pub mod fake;
pub mod memory;
pub mod protocol;
pub mod shim;
pub mod spec;
pub mod start;
pub mod state;

use std::future::Future;
use std::pin::Pin;

use tokio::sync::broadcast;
use windlass_model::program_fault::ProgramFault;

use protocol::Refusal;
use spec::{ContainerSpec, ExecSpec, Exit, Oom, SandboxId, SandboxSpec, StartError};
use state::{ExecResult, SandboxState, Started};

/// Runs containers on this machine, as the agent sees it.
///
/// Every call may be repeated after an agent's restart, and calls for different sandboxes do not
/// wait for one another.
pub trait Runtime: Send + Sync + 'static {
    /// Makes the sandbox's shim and parent cgroup.
    fn create_sandbox(&self, spec: SandboxSpec) -> Answer<'_, Result<(), Error>>;

    /// Starts a container, or starts one again that has exited. Answers when it executes its
    /// program; its exit comes as an [`Event`].
    fn start<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        spec: ContainerSpec,
    ) -> Answer<'a, Result<Started, Error>>;

    /// Runs a program in a running container, to its end or its timeout. Dropping the answer does
    /// not end the program; its timeout does.
    fn exec<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        spec: ExecSpec,
    ) -> Answer<'a, Result<ExecResult, Error>>;

    /// Asks a container to stop: its stop signal now, and a kill at its stop timeout, for which
    /// nobody has to be there. No error when it has exited.
    fn stop<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        container: &'a str,
    ) -> Answer<'a, Result<(), Error>>;

    /// Kills all of a container. No error when it has exited. Where its shim does not answer, the
    /// whole sandbox is killed, which its death tells.
    fn kill<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        container: &'a str,
    ) -> Answer<'a, Result<(), Error>>;

    /// Kills and removes all of a sandbox, also when its shim is dead. No error when there is none.
    fn remove_sandbox<'a>(&'a self, sandbox: &'a SandboxId) -> Answer<'a, Result<(), Vec<Error>>>;

    /// Every sandbox of the installation, also those that an earlier agent made. Their events
    /// arrive from this call on. All shims are asked at once, and one that does not answer soon holds
    /// up nobody: it is listed as such.
    fn list(&self) -> Answer<'_, Result<Vec<SandboxState>, Error>>;

    /// What happens from now on. An event may come twice, after a restart; its run tells. A receiver
    /// that lags behind has lost events and calls [`Runtime::list`].
    fn events(&self) -> broadcast::Receiver<Event>;
}

/// A call's future, boxed so that the trait has objects.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something happened in a sandbox without being asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub sandbox: SandboxId,
    pub kind: EventKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A container's first process has ended.
    Exited {
        container: String,
        /// Which start of the container, as in [`Started`].
        run: u32,
        exit: Exit,
        oom: Option<Oom>,
        /// Milliseconds since 1970.
        at_ms: u64,
        /// The kernel did not run its program.
        fault: Option<ProgramFault>,
    },
    /// A shim that was listed as not answering does again: list the sandboxes.
    Answered,
    /// The shim is gone, and with it whoever would stop or reap its containers. Remove the sandbox.
    ShimDied {
        /// For the reader: how it ended, as far as known.
        reason: String,
    },
}

/// Why a [`Runtime`] could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("sandbox {0:?}: its name must be 1 to 24 of a-z and 0-9")]
    BadSandboxId(String),
    #[error("sandbox {0} does not exist")]
    NoSandbox(SandboxId),
    #[error("sandbox {0} exists already")]
    SandboxExists(SandboxId),
    /// The container was not started, and nothing of it remains.
    #[error("start in sandbox {sandbox}")]
    Start {
        sandbox: SandboxId,
        #[source]
        source: StartError,
    },
    #[error("sandbox {sandbox}")]
    Refused {
        sandbox: SandboxId,
        #[source]
        source: Refusal,
    },
    #[error("the shim of sandbox {0} is dead; remove the sandbox")]
    ShimDead(SandboxId),
    #[error("the shim of sandbox {sandbox} has not answered for {seconds} seconds")]
    Mute { sandbox: SandboxId, seconds: u64 },
    #[error(
        "the connection to the shim of sandbox {0} was lost before its answer; list the sandboxes"
    )]
    Disconnected(SandboxId),
    #[error("sandbox {sandbox}: {what} could not be removed: {reason}")]
    Left {
        sandbox: SandboxId,
        what: String,
        reason: String,
    },
    #[error("{what}: {reason}")]
    Host { what: String, reason: String },
}

impl std::fmt::Display for SandboxId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `id` may name a sandbox: it becomes a folder and a cgroup.
pub(crate) fn is_sandbox_id(id: &str) -> bool {
    (1..=24).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether `name` may name a container.
pub(crate) fn is_container_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
