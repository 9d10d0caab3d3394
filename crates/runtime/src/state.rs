//! What is known of sandboxes and their containers: the answers of a [`crate::Runtime`]. Plain
//! data without secrets; it crosses the shim's socket and lies in the shim's folder, so fields are
//! numbered and a number is never reused.

use minicbor::{Decode, Encode};

use crate::spec::{Exit, Oom, SandboxId};
use windlass_model::program_fault::ProgramFault;

/// One sandbox that the run folder knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxState {
    pub id: SandboxId,
    /// False when its shim is gone: what it left has to be removed.
    pub alive: bool,
    /// False when its shim is there and does not answer, because it is stopped or the machine is
    /// busy. What its folder says may be old; [`crate::EventKind::Answered`] tells when it answers.
    pub answers: bool,
    /// By name. Of a dead shim: what its folder says, running ones as [`Status::Lost`].
    pub containers: Vec<ContainerState>,
}

/// One container, as of its newest start.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContainerState {
    #[n(0)]
    pub name: String,
    /// Which start of the container: 1, 2, …
    #[n(1)]
    pub run: u32,
    #[n(2)]
    pub status: Status,
    /// Of its first process, in the host's numbering. Not valid after the exit.
    #[n(3)]
    pub pid: i32,
    /// Milliseconds since 1970.
    #[n(4)]
    pub started_at_ms: u64,
    #[n(5)]
    pub exited_at_ms: Option<u64>,
    #[n(6)]
    pub exit: Option<Exit>,
    #[n(7)]
    pub oom: Option<Oom>,
    /// Log records that could not be written, because the disk was full for example.
    #[n(8)]
    pub log_records_dropped: u64,
    /// The kernel did not run its program.
    #[n(9)]
    pub fault: Option<ProgramFault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    #[n(0)]
    Running,
    /// Asked to stop; its kill is due at its stop timeout.
    #[n(1)]
    Stopping,
    /// Killed, but not gone yet: the kernel holds it, on a dead disk for example.
    #[n(2)]
    Killing,
    #[n(3)]
    Exited,
    /// It was running when its shim died; nobody knows its exit status.
    #[n(4)]
    Lost,
}

/// The answer to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Started {
    #[n(0)]
    pub pid: i32,
    #[n(1)]
    pub started_at_ms: u64,
    /// Which start of the container: 1, 2, … Events carry it too.
    #[n(2)]
    pub run: u32,
}

/// How an exec ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ExecResult {
    #[n(0)]
    pub exit: Exit,
    /// Standard output and error as they came, cut at the exec's limit.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub output: Vec<u8>,
    /// It ran into its timeout and was killed.
    #[n(2)]
    pub timed_out: bool,
    /// There was more output than the limit.
    #[n(3)]
    pub truncated: bool,
}
