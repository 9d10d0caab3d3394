//! A cluster: the name under which tasks and instances meet.

use crate::id::{Millis, Name};
use crate::tag::Tag;
use minicbor::{Decode, Encode};

/// Capacity providers that exist everywhere, and that a cluster has once it is associated with them.
pub const FARGATE_PROVIDERS: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Cluster {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub status: ClusterStatus,
    #[n(2)]
    pub created_at: Millis,
    /// Set when it became INACTIVE.
    #[n(3)]
    pub deleted_at: Option<Millis>,
    #[n(4)]
    pub container_insights: ContainerInsights,
    #[n(5)]
    pub configuration: Option<ClusterConfiguration>,
    #[n(6)]
    pub capacity_providers: Vec<String>,
    #[n(7)]
    pub default_strategy: Vec<StrategyItem>,
    /// Service Connect's default namespace, as given.
    #[n(8)]
    pub namespace: Option<String>,
    #[n(9)]
    pub tags: Vec<Tag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ClusterStatus {
    #[n(0)]
    Active,
    #[n(1)]
    Inactive,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ContainerInsights {
    #[n(0)]
    #[default]
    Disabled,
    #[n(1)]
    Enabled,
    #[n(2)]
    Enhanced,
}

/// Kept and shown; what it configures (exec logging, storage keys) reads it where it is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ClusterConfiguration {
    #[n(0)]
    pub execute_command: Option<ExecuteCommandConfiguration>,
    #[n(1)]
    pub storage: Option<ManagedStorage>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ExecuteCommandConfiguration {
    #[n(0)]
    pub kms_key_id: Option<String>,
    /// NONE, DEFAULT or OVERRIDE.
    #[n(1)]
    pub logging: Option<String>,
    #[n(2)]
    pub log: Option<ExecuteCommandLog>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ExecuteCommandLog {
    #[n(0)]
    pub cloud_watch_log_group_name: Option<String>,
    #[n(1)]
    pub cloud_watch_encryption_enabled: Option<bool>,
    #[n(2)]
    pub s3_bucket_name: Option<String>,
    #[n(3)]
    pub s3_encryption_enabled: Option<bool>,
    #[n(4)]
    pub s3_key_prefix: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ManagedStorage {
    #[n(0)]
    pub kms_key_id: Option<String>,
    #[n(1)]
    pub fargate_ephemeral_storage_kms_key_id: Option<String>,
}

/// One provider of a capacity provider strategy.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StrategyItem {
    #[n(0)]
    pub provider: String,
    /// 0 to 1000.
    #[n(1)]
    pub weight: u32,
    /// 0 to 100000.
    #[n(2)]
    pub base: u32,
}
