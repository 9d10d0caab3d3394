//! Volumes of a task definition: a name and exactly one kind.

use crate::id::Name;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Volume {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub kind: VolumeKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum VolumeKind {
    /// A folder made for the task and removed with it. `host_given` remembers an explicit
    /// `host: {}`, which is echoed.
    #[n(0)]
    Scratch {
        #[n(0)]
        host_given: bool,
    },
    /// A path of the host.
    #[n(1)]
    Host {
        #[n(0)]
        source_path: String,
    },
    #[n(2)]
    Docker(#[n(0)] DockerVolume),
    #[n(3)]
    Efs(#[n(0)] EfsVolume),
    #[n(4)]
    Fsx(#[n(0)] FsxVolume),
    #[n(5)]
    S3Files(#[n(0)] S3FilesVolume),
    /// Given by RunTask or the service.
    #[n(6)]
    ConfiguredAtLaunch,
}

/// A named volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct DockerVolume {
    /// `None` is `task`: it lives and dies with the task; `Some(true)` is `shared`.
    #[n(0)]
    pub shared: Option<bool>,
    #[n(1)]
    pub autoprovision: Option<bool>,
    #[n(2)]
    pub driver: Option<String>,
    #[n(3)]
    pub driver_opts: Option<BTreeMap<String, String>>,
    #[n(4)]
    pub labels: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct EfsVolume {
    #[n(0)]
    pub file_system_id: String,
    #[n(1)]
    pub root_directory: Option<String>,
    #[n(2)]
    pub transit_encryption: Option<String>,
    #[n(3)]
    pub transit_encryption_port: Option<i32>,
    #[n(4)]
    pub access_point_id: Option<String>,
    #[n(5)]
    pub iam: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct FsxVolume {
    #[n(0)]
    pub file_system_id: String,
    #[n(1)]
    pub root_directory: String,
    #[n(2)]
    pub credentials_parameter: String,
    #[n(3)]
    pub domain: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct S3FilesVolume {
    #[n(0)]
    pub file_system_arn: String,
    #[n(1)]
    pub root_directory: Option<String>,
    #[n(2)]
    pub transit_encryption_port: Option<i32>,
    #[n(3)]
    pub access_point_arn: Option<String>,
}
