//! A task definition: the versioned template of an application. A revision never changes; only
//! its status does, which therefore is a row of its own.

use crate::container::{ContainerDefinition, KeyValue};
use crate::id::{Millis, Name};
use crate::instance::Attribute;
use crate::status::DefinitionStatus;
use crate::tag::Tag;
use crate::volume::Volume;
use minicbor::{Decode, Encode};
use std::fmt;

/// `family:revision`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct DefinitionKey {
    #[n(0)]
    pub family: Name,
    #[n(1)]
    pub revision: u32,
}

impl fmt::Display for DefinitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.family, self.revision)
    }
}

/// What a caller means by `family`, `family:revision` or either's ARN.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum DefinitionRef {
    /// The highest ACTIVE revision.
    #[n(0)]
    Latest(#[n(0)] Name),
    #[n(1)]
    Exact(#[n(0)] DefinitionKey),
}

/// The template as registered, validated and normalised: what `compatibilities` and
/// `requires_attributes` say was derived once, at registration.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Template {
    #[n(0)]
    pub family: Name,
    #[n(1)]
    pub task_role: Option<String>,
    #[n(2)]
    pub execution_role: Option<String>,
    /// As given; absent is `bridge`.
    #[n(3)]
    pub network_mode: Option<NetworkMode>,
    #[n(4)]
    pub containers: Vec<ContainerDefinition>,
    #[n(5)]
    pub volumes: Vec<Volume>,
    /// `memberOf` expressions.
    #[n(6)]
    pub placement_constraints: Vec<String>,
    #[n(7)]
    pub requires_compatibilities: Vec<Compatibility>,
    /// CPU units of the whole task.
    #[n(8)]
    pub cpu: Option<u32>,
    /// MiB of the whole task.
    #[n(9)]
    pub memory: Option<u32>,
    #[n(10)]
    pub pid_mode: Option<SharingMode>,
    #[n(11)]
    pub ipc_mode: Option<SharingMode>,
    #[n(12)]
    pub proxy: Option<ProxyConfiguration>,
    // 13 is free: it held what ECS refuses today.
    #[n(14)]
    pub ephemeral_storage_gib: Option<u32>,
    #[n(15)]
    pub runtime_platform: Option<RuntimePlatform>,
    #[n(16)]
    pub enable_fault_injection: Option<bool>,
    #[n(17)]
    pub trusted_execution: Option<TrustedExecution>,
    /// Launch types it could run on.
    #[n(18)]
    pub compatibilities: Vec<Compatibility>,
    /// Capabilities an instance must have.
    #[n(19)]
    pub requires_attributes: Vec<Attribute>,
}

impl Template {
    pub fn network(&self) -> NetworkMode {
        self.network_mode.unwrap_or(NetworkMode::Bridge)
    }

    pub fn is_windows(&self) -> bool {
        let family = self.runtime_platform.as_ref();
        let family = family.and_then(|platform| platform.operating_system_family.as_deref());
        family.is_some_and(|family| family.starts_with("WINDOWS"))
    }
}

/// One registered revision.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TaskDefinition {
    #[n(0)]
    pub key: DefinitionKey,
    #[n(1)]
    pub template: Template,
    #[n(2)]
    pub registered_at: Millis,
    /// The caller's ARN.
    #[n(3)]
    pub registered_by: String,
}

/// What may change of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DefinitionState {
    #[n(0)]
    pub key: DefinitionKey,
    #[n(1)]
    pub status: DefinitionStatus,
    #[n(2)]
    pub deregistered_at: Option<Millis>,
    #[n(3)]
    pub delete_requested_at: Option<Millis>,
    #[n(4)]
    pub tags: Vec<Tag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum NetworkMode {
    #[n(0)]
    Bridge,
    #[n(1)]
    Host,
    #[n(2)]
    Awsvpc,
    #[n(3)]
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Compatibility {
    #[n(0)]
    Ec2,
    #[n(1)]
    Fargate,
    #[n(2)]
    External,
    #[n(3)]
    ManagedInstances,
}

/// `pidMode` and `ipcMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum SharingMode {
    #[n(0)]
    Host,
    #[n(1)]
    Task,
    /// `ipcMode` alone.
    #[n(2)]
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ProxyConfiguration {
    #[n(0)]
    pub kind: Option<String>,
    #[n(1)]
    pub container: String,
    #[n(2)]
    pub properties: Option<Vec<KeyValue>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RuntimePlatform {
    #[n(0)]
    pub cpu_architecture: Option<String>,
    #[n(1)]
    pub operating_system_family: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TrustedExecution {
    #[n(0)]
    pub isolation_mode: String,
    #[n(1)]
    pub attestation_policy: Option<String>,
}
