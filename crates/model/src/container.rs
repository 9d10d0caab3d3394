//! A container of a task definition, as registered: decoded once, complete, with ECS's defaults
//! left absent where ECS leaves them absent, so that it reads back as it was written.

use crate::id::Name;
use crate::resources::Protocol;
use crate::sizes::ContainerSize;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContainerDefinition {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub image: String,
    #[n(2)]
    pub repository_credentials: Option<String>,
    /// CPU units; 0 when unset.
    #[n(3)]
    pub cpu: u32,
    /// Hard limit in MiB.
    #[n(4)]
    pub memory: Option<u32>,
    /// Soft limit in MiB.
    #[n(5)]
    pub memory_reservation: Option<u32>,
    #[n(6)]
    pub links: Option<Vec<String>>,
    #[n(7)]
    pub port_mappings: Vec<PortMapping>,
    #[n(8)]
    pub essential: bool,
    #[n(9)]
    pub restart_policy: Option<RestartPolicy>,
    #[n(10)]
    pub entry_point: Option<Vec<String>>,
    #[n(11)]
    pub command: Option<Vec<String>>,
    #[n(12)]
    pub environment: Vec<KeyValue>,
    /// S3 ARNs.
    #[n(13)]
    pub environment_files: Vec<String>,
    #[n(14)]
    pub mount_points: Vec<MountPoint>,
    #[n(15)]
    pub volumes_from: Vec<VolumeFrom>,
    #[n(16)]
    pub linux_parameters: Option<LinuxParameters>,
    #[n(17)]
    pub secrets: Vec<Secret>,
    #[n(18)]
    pub depends_on: Vec<Dependency>,
    #[n(19)]
    pub start_timeout_s: Option<u32>,
    #[n(20)]
    pub stop_timeout_s: Option<u32>,
    /// `enabled` or `disabled`, when given.
    #[n(21)]
    pub version_consistency: Option<String>,
    #[n(22)]
    pub hostname: Option<String>,
    #[n(23)]
    pub user: Option<String>,
    #[n(24)]
    pub working_directory: Option<String>,
    #[n(25)]
    pub disable_networking: Option<bool>,
    #[n(26)]
    pub privileged: Option<bool>,
    #[n(27)]
    pub readonly_root_filesystem: Option<bool>,
    #[n(28)]
    pub dns_servers: Option<Vec<String>>,
    #[n(29)]
    pub dns_search_domains: Option<Vec<String>>,
    #[n(30)]
    pub extra_hosts: Option<Vec<HostEntry>>,
    #[n(31)]
    pub docker_security_options: Option<Vec<String>>,
    #[n(32)]
    pub interactive: Option<bool>,
    #[n(33)]
    pub pseudo_terminal: Option<bool>,
    #[n(34)]
    pub docker_labels: Option<BTreeMap<String, String>>,
    #[n(35)]
    pub ulimits: Option<Vec<Ulimit>>,
    #[n(36)]
    pub log: Option<LogConfiguration>,
    #[n(37)]
    pub health_check: Option<HealthCheck>,
    #[n(38)]
    pub system_controls: Vec<KeyValue>,
    #[n(39)]
    pub resource_requirements: Option<Vec<ResourceRequirement>>,
    #[n(40)]
    pub firelens: Option<Firelens>,
    #[n(41)]
    pub credential_specs: Option<Vec<String>>,
}

impl ContainerDefinition {
    pub fn size(&self) -> ContainerSize {
        ContainerSize {
            cpu: self.cpu,
            memory: self.memory,
            memory_reservation: self.memory_reservation,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeyValue {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PortMapping {
    /// Absent when a range is given.
    #[n(0)]
    pub container_port: Option<u16>,
    /// 0 is dynamic; absent with a range.
    #[n(1)]
    pub host_port: Option<u16>,
    #[n(2)]
    pub protocol: Protocol,
    #[n(3)]
    pub name: Option<String>,
    #[n(4)]
    pub app_protocol: Option<String>,
    /// First and last port.
    #[n(5)]
    pub container_port_range: Option<(u16, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RestartPolicy {
    #[n(0)]
    pub enabled: bool,
    #[n(1)]
    pub ignored_exit_codes: Option<Vec<i32>>,
    #[n(2)]
    pub restart_attempt_period_s: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MountPoint {
    #[n(0)]
    pub source_volume: String,
    #[n(1)]
    pub container_path: String,
    #[n(2)]
    pub read_only: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VolumeFrom {
    #[n(0)]
    pub source_container: Name,
    #[n(1)]
    pub read_only: Option<bool>,
}

/// A secret's name in the container, and where its value is kept. Never the value.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Secret {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub value_from: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Dependency {
    #[n(0)]
    pub container: Name,
    #[n(1)]
    pub condition: Condition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Condition {
    #[n(0)]
    Start,
    #[n(1)]
    Complete,
    #[n(2)]
    Success,
    #[n(3)]
    Healthy,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HostEntry {
    #[n(0)]
    pub hostname: String,
    #[n(1)]
    pub ip_address: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ulimit {
    #[n(0)]
    pub name: String,
    /// -1 is unlimited.
    #[n(1)]
    pub soft: i64,
    #[n(2)]
    pub hard: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LogConfiguration {
    #[n(0)]
    pub driver: String,
    #[n(1)]
    pub options: Option<BTreeMap<String, String>>,
    #[n(2)]
    pub secret_options: Option<Vec<Secret>>,
}

/// Filled with ECS's defaults when registered: interval 30 s, timeout 5 s, 3 retries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HealthCheck {
    #[n(0)]
    pub command: Vec<String>,
    #[n(1)]
    pub interval_s: u32,
    #[n(2)]
    pub timeout_s: u32,
    #[n(3)]
    pub retries: u32,
    #[n(4)]
    pub start_period_s: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ResourceRequirement {
    #[n(0)]
    pub kind: String,
    #[n(1)]
    pub value: Option<String>,
    /// A share of a GPU instead of whole ones.
    #[n(2)]
    pub sharing: Option<GpuShare>,
}

/// `sharingStrategy.nvidiaMps`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct GpuShare {
    #[n(0)]
    pub memory_mib: u32,
    /// 1 to 100.
    #[n(1)]
    pub compute_percent_max: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Firelens {
    #[n(0)]
    pub kind: String,
    #[n(1)]
    pub options: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct LinuxParameters {
    #[n(0)]
    pub capabilities_add: Option<Vec<String>>,
    #[n(1)]
    pub capabilities_drop: Option<Vec<String>>,
    /// An explicit `capabilities: {}` is echoed.
    #[n(2)]
    pub capabilities_given: bool,
    #[n(3)]
    pub devices: Option<Vec<Device>>,
    #[n(4)]
    pub init_process_enabled: Option<bool>,
    #[n(5)]
    pub shared_memory_size_mib: Option<u32>,
    #[n(6)]
    pub tmpfs: Option<Vec<Tmpfs>>,
    #[n(7)]
    pub max_swap_mib: Option<u32>,
    #[n(8)]
    pub swappiness: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Device {
    #[n(0)]
    pub host_path: String,
    #[n(1)]
    pub container_path: Option<String>,
    /// `read`, `write`, `mknod`; absent is all three.
    #[n(2)]
    pub permissions: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Tmpfs {
    #[n(0)]
    pub container_path: String,
    #[n(1)]
    pub size_mib: u32,
    #[n(2)]
    pub mount_options: Option<Vec<String>>,
}
