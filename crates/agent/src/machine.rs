//! What this machine is: its boot, its size, its capabilities.

use crate::limits::{HOST_RESERVE_MIB_MAX, PIDS_PER_CONTAINER};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use windlass_model::id::{BootId, NodeId};
use windlass_model::instance::{Attribute, Node};
use windlass_model::limits::RESERVED_TCP_PORTS;
use windlass_model::resources::{HostPort, Protocol, Resources};

/// Who this node is; what a person or the installation chose.
#[derive(Clone, Debug)]
pub struct Identity {
    pub id: NodeId,
    /// `None` takes the machine's host name.
    pub name: Option<String>,
    pub availability_zone: String,
    /// An address under which published ports are reached from other machines.
    pub address: String,
    pub agent_version: String,
    /// Of the folder on tmpfs that says what runs here. Without that folder nothing is known to run,
    /// as after a reboot, so another one counts as another boot. 0 changes nothing.
    pub epoch: u128,
    /// Attributes of the operator's own.
    pub attributes: Vec<Attribute>,
    /// Whether it joins clusters that need an instance by itself.
    pub joins_on_demand: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {path}")]
    Read {
        path: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{path} does not say what was expected: {text:?}")]
    Content { path: &'static str, text: String },
}

/// Capabilities a definition may require and this node really provides, by their prefix-less
/// names. Source: ECS API, `requiresAttributes`.
const CAPABILITIES: &[&str] = &[
    "ecs.capability.container-health-check",
    "ecs.capability.container-ordering",
    "ecs.capability.container-restart-policy",
    "ecs.capability.network.container-port-range",
    "ecs.capability.pid-ipc-namespace-sharing",
    "ecs.capability.task-cpu-mem-limit",
    "ecs.capability.increased-task-cpu-limit",
    "ecs.capability.task-eni",
    "ecs.capability.execution-role-awslogs",
    "ecs.capability.execution-role-ecr-pull",
    "ecs.capability.docker-plugin.local",
    "com.amazonaws.ecs.capability.ecr-auth",
    "com.amazonaws.ecs.capability.privileged-container",
    "com.amazonaws.ecs.capability.task-iam-role",
    "com.amazonaws.ecs.capability.task-iam-role-network-host",
];

/// Drivers whose output is kept in the node's own log files.
pub const LOG_DRIVERS: &[&str] = &[
    "awslogs",
    "fluentd",
    "gelf",
    "journald",
    "json-file",
    "local",
    "none",
    "splunk",
    "syslog",
];

/// How much of the machine tasks may have.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Multiplies the processors: 1.0 promises what there is.
    pub cpu_overcommit: f64,
    /// MiB that tasks may not have; `None` keeps a tenth back, at most [`HOST_RESERVE_MIB_MAX`].
    pub reserve_memory_mib: Option<u64>,
}

/// What the agent registers.
///
/// # Errors
/// /proc does not answer as Linux does.
pub fn facts(identity: &Identity, share: Share) -> Result<Node, Error> {
    let name = match &identity.name {
        Some(name) => name.clone(),
        None => read("/proc/sys/kernel/hostname")?.trim().to_owned(),
    };
    let mut attributes = capabilities();
    attributes.extend(identity.attributes.iter().cloned());
    attributes.push(valued("ecs.availability-zone", &identity.availability_zone));
    attributes.sort();
    attributes.dedup();
    Ok(Node {
        id: identity.id,
        name,
        boot: BootId(boot()?.0 ^ identity.epoch),
        total: resources(share)?,
        attributes,
        availability_zone: identity.availability_zone.clone(),
        agent_version: identity.agent_version.clone(),
        address: identity.address.clone(),
        connected: true,
        isolation: isolation(),
        // Looked at when a session begins, and from then on.
        ports_in_use: BTreeSet::new(),
        connection_changed_at: None,
        joins_on_demand: identity.joins_on_demand,
    })
}

/// What every container gets here, whatever its definition says: there are no user namespaces, and no
/// profile of a security module.
fn isolation() -> String {
    let version = match std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => "v2",
        false => "v1",
    };
    format!(
        "namespaces without one of users, cgroups {version}, seccomp and capabilities unless \
         privileged, at most {PIDS_PER_CONTAINER} processes a container"
    )
}

/// This boot of the kernel.
///
/// # Errors
/// As [`facts`].
pub fn boot() -> Result<BootId, Error> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = read(path)?;
    text.trim().parse().map_err(|_| Error::Content {
        path,
        text: text.clone(),
    })
}

/// The most open files this process may have, and so give; without an answer, what defaults ask.
pub(crate) fn open_files_max() -> u64 {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    hard.and_then(|hard| hard.parse().ok()).unwrap_or(u64::MAX)
}

fn resources(share: Share) -> Result<Resources, Error> {
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let cpu_units =
        (processors.saturating_mul(1_024) as f64 * share.cpu_overcommit.max(0.0)) as u64;
    let memory_mib = memory_mib()?;
    let usual = (memory_mib / 10).min(HOST_RESERVE_MIB_MAX);
    let reserve = share.reserve_memory_mib.unwrap_or(usual);
    let ports = RESERVED_TCP_PORTS
        .iter()
        .map(|port| HostPort {
            protocol: Protocol::Tcp,
            port: *port,
        })
        .collect();
    Ok(Resources {
        cpu_units,
        memory_mib: memory_mib.saturating_sub(reserve),
        ports,
        // The agent asks its network.
        links: 0,
    })
}

fn memory_mib() -> Result<u64, Error> {
    let path = "/proc/meminfo";
    let text = read(path)?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib / 1_024).ok_or_else(|| Error::Content {
        path,
        text: text.lines().next().unwrap_or_default().to_owned(),
    })
}

fn capabilities() -> Vec<Attribute> {
    let named = |name: String| Attribute { name, value: None };
    let mut all: Vec<Attribute> = CAPABILITIES
        .iter()
        .map(|name| named((*name).into()))
        .collect();
    all.extend((17..=32).map(|minor| {
        named(format!(
            "com.amazonaws.ecs.capability.docker-remote-api.1.{minor}"
        ))
    }));
    all.extend(LOG_DRIVERS.iter().map(|driver| {
        named(format!(
            "com.amazonaws.ecs.capability.logging-driver.{driver}"
        ))
    }));
    all.push(valued("ecs.os-type", "linux"));
    all.push(valued("ecs.os-family", "LINUX"));
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    };
    all.push(valued("ecs.cpu-architecture", architecture));
    all
}

fn valued(name: &str, value: &str) -> Attribute {
    Attribute {
        name: name.into(),
        value: Some(value.into()),
    }
}

fn read(path: &'static str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_boot_a_size_and_capabilities() {
        let identity = Identity {
            id: NodeId(7),
            name: None,
            availability_zone: "eu-central-1a".into(),
            address: "192.0.2.1".into(),
            agent_version: "0".into(),
            epoch: 0,
            attributes: Vec::new(),
            joins_on_demand: false,
        };
        let share = |cpu_overcommit| Share {
            cpu_overcommit,
            reserve_memory_mib: Some(100),
        };
        let node = facts(&identity, share(1.0)).unwrap();
        let double = facts(&identity, share(2.0)).unwrap();
        assert!(node.total.cpu_units >= 1_024 && node.total.memory_mib > 0);
        assert_eq!(double.total.cpu_units, node.total.cpu_units * 2);
        assert_eq!(node.boot, boot().unwrap());
        let emptied = Identity {
            epoch: 9,
            ..identity
        };
        assert_ne!(facts(&emptied, share(1.0)).unwrap().boot, node.boot);
        assert!(!node.name.is_empty());
        for name in [
            "ecs.capability.task-eni",
            "com.amazonaws.ecs.capability.docker-remote-api.1.18",
        ] {
            assert!(node.attributes.iter().any(|a| a.name == name), "{name}");
        }
    }
}
