//! Kernel parameters that belong to a namespace, so that a container may have its own.

/// The namespace that a parameter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Network,
    Ipc,
}

/// Parameters of the ipc namespace, and one prefix beside them: `fs.mqueue.`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Letters, digits, `_` and `-` between dots: such a name leads nowhere but below `/proc/sys`.
pub fn is_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    name.split('.')
        .all(|part| !part.is_empty() && part.bytes().all(letter))
}

/// Whose it is; `None` for what is the host's alone.
pub fn owner(name: &str) -> Option<Owner> {
    if name.starts_with("net.") {
        Some(Owner::Network)
    } else if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        Some(Owner::Ipc)
    } else {
        None
    }
}
