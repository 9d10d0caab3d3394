//! What a sandbox and its containers are made of: plain data, complete, with nothing left to look
//! up. It crosses the socket to the shim, so every field is numbered; a number is never reused.
//!
//! Environment values may be secrets: this type has no `Debug`, and is never written to a file.

use minicbor::{Decode, Encode};

/// Names the kernel objects of one sandbox. Only `[a-z0-9]`, at most 24 characters: it becomes a
/// cgroup and folder name, and a prefix of interface names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct SandboxId(#[n(0)] pub String);

/// The task as a whole.
#[derive(Clone, Encode, Decode)]
pub struct SandboxSpec {
    #[n(0)]
    pub id: SandboxId,
    /// Limits of the task's parent cgroup.
    #[n(1)]
    pub limits: Limits,
}

/// Limits of one cgroup. `None` is the kernel's own default (no limit).
#[derive(Clone, Default, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Limits {
    /// Relative weight in cgroup v1 units, 2 to 262144; v2 gets Docker's conversion.
    #[n(0)]
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time per `cpu_period_us`.
    #[n(1)]
    pub cpu_quota_us: Option<u64>,
    #[n(2)]
    pub cpu_period_us: Option<u64>,
    #[n(3)]
    pub memory_bytes: Option<u64>,
    /// Soft limit: what reclaim under pressure leaves.
    #[n(4)]
    pub memory_reservation_bytes: Option<u64>,
    /// Swap on top of `memory_bytes`; `Some(0)` is none.
    #[n(5)]
    pub swap_bytes: Option<u64>,
    /// 0 to 100, cgroup v1 only: v2 has no such setting.
    #[n(6)]
    pub swappiness: Option<u64>,
    /// Most processes and threads.
    #[n(7)]
    pub pids: Option<u64>,
}

#[derive(Clone, Encode, Decode)]
pub struct ContainerSpec {
    /// Unique in its sandbox: `[A-Za-z0-9_-]{1,255}`.
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub root: Root,
    #[n(2)]
    pub readonly_root: bool,
    #[n(3)]
    pub process: Process,
    #[n(4)]
    pub hostname: String,
    #[n(5)]
    pub network: Network,
    #[n(6)]
    pub pid: Namespace,
    #[n(7)]
    pub ipc: Namespace,
    #[n(8)]
    pub mounts: Vec<Mount>,
    /// Device nodes beyond the default set, with their access rules.
    #[n(9)]
    pub devices: Vec<Device>,
    /// `(name, value)`, allow-listed and namespaced; refused when the namespace is not private.
    #[n(10)]
    pub sysctls: Vec<(String, String)>,
    #[n(11)]
    pub limits: Limits,
    /// Size of /dev/shm; 64 MiB when absent. The sandbox's own gets that of the first container
    /// that shares it.
    #[n(12)]
    pub shm_bytes: Option<u64>,
    /// All capabilities, all devices, no seccomp, nothing masked.
    #[n(13)]
    pub privileged: bool,
    #[n(14)]
    pub stop_signal: i32,
    #[n(15)]
    pub stop_timeout_ms: u64,
    #[n(16)]
    pub log: Log,
    /// Run a minimal init as process 1 that forwards signals and reaps.
    #[n(17)]
    pub init: bool,
    /// Without a terminal: the standard input stays open though nobody writes to it, where it ends
    /// at once otherwise.
    #[n(18)]
    #[cbor(default)]
    pub stdin_open: bool,
}

/// The root file system.
#[derive(Clone, Encode, Decode)]
pub enum Root {
    /// Unpacked layers, topmost first, with a fresh writable folder over them. `upper` and `work`
    /// exist, are empty and lie on one file system.
    #[n(0)]
    Layers {
        #[n(0)]
        lower: Vec<String>,
        #[n(1)]
        upper: String,
        #[n(2)]
        work: String,
    },
    /// Nothing but what every container has: memory, and no image.
    #[n(1)]
    Empty,
}

/// A program and the confinement it runs in. The same for a container's first process, an exec
/// and a health check.
#[derive(Clone, Encode, Decode)]
pub struct Process {
    #[n(0)]
    pub args: Vec<String>,
    /// `NAME=value`. PATH and HOME are added when absent.
    #[n(1)]
    pub env: Vec<String>,
    /// Absolute path in the container; created when missing.
    #[n(2)]
    pub cwd: String,
    /// As in the image or task definition: `user`, `uid`, `user:group`, `uid:gid`, or empty for root.
    #[n(3)]
    pub user: String,
    /// Names without `CAP_`. The bounding, permitted and effective sets; inheritable stays empty.
    #[n(4)]
    pub capabilities: Vec<String>,
    #[n(5)]
    pub no_new_privileges: bool,
    #[n(6)]
    pub seccomp: Seccomp,
    #[n(7)]
    pub rlimits: Vec<Rlimit>,
    #[n(8)]
    pub oom_score_adj: i32,
    #[n(9)]
    pub tty: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Seccomp {
    /// The field's default profile for the process's capabilities.
    #[n(0)]
    Default,
    #[n(1)]
    Unconfined,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Rlimit {
    /// ECS's name: `nofile`, `nproc`, `core`, …
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub soft: u64,
    #[n(2)]
    pub hard: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Network {
    /// The host's own.
    #[n(0)]
    Host,
    /// A fresh one with loopback alone, up.
    #[n(1)]
    None,
    /// A namespace made beforehand, by its path.
    #[n(2)]
    Path(#[n(0)] String),
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Namespace {
    #[n(0)]
    Private,
    #[n(1)]
    Host,
    /// That of another container of the sandbox, by name; it must be running.
    #[n(2)]
    Container(#[n(0)] String),
    /// The sandbox's own: it is there from the first container that asks for it until the sandbox
    /// is removed, whichever containers run.
    #[n(3)]
    Sandbox,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Mount {
    /// Absolute, in the container.
    #[n(0)]
    pub target: String,
    #[n(1)]
    pub kind: MountKind,
    #[n(2)]
    pub readonly: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum MountKind {
    /// A host file or directory, with its submounts.
    #[n(0)]
    Bind {
        #[n(0)]
        source: String,
    },
    /// Memory, charged to the container; `options` are mount flags (`noexec`, `mode=1777`, …).
    #[n(1)]
    Tmpfs {
        #[n(0)]
        size_bytes: u64,
        #[n(1)]
        options: Vec<String>,
    },
    /// A small file with this text, in bounded memory of the container's own.
    #[n(2)]
    File {
        #[n(0)]
        text: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Device {
    #[n(0)]
    pub host_path: String,
    #[n(1)]
    pub container_path: String,
    #[n(2)]
    pub read: bool,
    #[n(3)]
    pub write: bool,
    #[n(4)]
    pub mknod: bool,
}

/// Where a container's output goes. The shim rotates: `path`, `path.1`, … `path.{files-1}`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Log {
    #[n(0)]
    pub path: String,
    #[n(1)]
    pub max_bytes: u64,
    #[n(2)]
    pub files: u32,
}

/// Another program inside a running container.
#[derive(Clone, Encode, Decode)]
pub struct ExecSpec {
    #[n(0)]
    pub container: String,
    #[n(1)]
    pub process: Process,
    /// Killed when it runs longer.
    #[n(2)]
    pub timeout_ms: Option<u64>,
    /// Most bytes of output kept; the rest is read and dropped.
    #[n(3)]
    pub output_max_bytes: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Exit {
    #[n(0)]
    Code(#[n(0)] i32),
    #[n(1)]
    Signal(#[n(0)] i32),
}

impl Exit {
    /// The exit code as ECS reports it: 128 + n for signal n.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// The kernel killed something of a container for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Oom {
    #[n(0)]
    pub peak_bytes: u64,
    #[n(1)]
    pub limit_bytes: u64,
}

/// Why a process could not be started: exact, and nothing of it remains.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{stage}: {detail}: {}", errno_text(*errno))]
pub struct StartError {
    /// The step of the sequence: `exec`, `cwd`, `mount`, `user`, `cgroup`, …
    #[n(0)]
    pub stage: String,
    #[n(1)]
    pub errno: i32,
    /// What it was about: a path, a name. Never an environment value.
    #[n(2)]
    pub detail: String,
}

/// What the C library says of an errno.
pub fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
