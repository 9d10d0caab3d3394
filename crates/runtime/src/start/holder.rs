//! The process that holds the namespaces of a sandbox whose containers share them.
//!
//! The containers see it as process 1, and whatever they can do to it must gain them nothing. So it
//! is confined as a container and more: no file but those of the kernel, no network, no capability,
//! another user than root, and nothing of the shim's memory, because it is a program of its own.

use crate::spec::{ContainerSpec, Limits, Log, Namespace, Network, Process, Root, Seccomp};

/// Nobody.
const USER: &str = "65534:65534";

pub(super) fn spec(shm_bytes: Option<u64>) -> ContainerSpec {
    let process = Process {
        args: vec![super::init::ROLE_NAME.to_owned()],
        env: Vec::new(),
        cwd: "/".to_owned(),
        user: USER.to_owned(),
        capabilities: Vec::new(),
        no_new_privileges: true,
        seccomp: Seccomp::Default,
        rlimits: Vec::new(),
        oom_score_adj: 0,
        tty: false,
    };
    ContainerSpec {
        name: super::init::ROLE_NAME.to_owned(),
        root: Root::Empty,
        readonly_root: true,
        process,
        hostname: String::new(),
        network: Network::None,
        pid: Namespace::Private,
        ipc: Namespace::Private,
        mounts: Vec::new(),
        devices: Vec::new(),
        sysctls: Vec::new(),
        limits: Limits::default(),
        shm_bytes,
        privileged: false,
        stop_signal: libc::SIGTERM,
        stop_timeout_ms: 0,
        log: Log {
            path: String::new(),
            max_bytes: 0,
            files: 0,
        },
        init: true,
        stdin_open: false,
    }
}
