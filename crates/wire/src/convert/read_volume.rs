//! Volumes of a task definition: each a name and one kind.

use super::read_container::text;
use crate::error::ApiError;
use crate::messages;
use crate::shapes::setting::Scope;
use crate::shapes::volume as wire;
use std::collections::BTreeSet;
use windlass_model::id::Name;
use windlass_model::volume::{
    DockerVolume, EfsVolume, FsxVolume, S3FilesVolume, Volume, VolumeKind,
};

pub(super) fn volumes(given: Option<Vec<wire::Volume>>) -> Result<Vec<Volume>, ApiError> {
    let mut names = BTreeSet::new();
    let mut volumes = Vec::new();
    for given in given.unwrap_or_default() {
        let volume = volume(given)?;
        if !names.insert(volume.name.clone()) {
            return Err(ApiError::client(format!(
                "Volume names must be unique. '{}' is used more than once.",
                volume.name
            )));
        }
        volumes.push(volume);
    }
    let at_launch = |volume: &&Volume| volume.kind == VolumeKind::ConfiguredAtLaunch;
    if volumes.iter().filter(at_launch).count() > 1 {
        return Err(ApiError::client(
            "At most one volume of a task definition can be configured at launch.",
        ));
    }
    Ok(volumes)
}

fn volume(given: wire::Volume) -> Result<Volume, ApiError> {
    let given_name = given.name.unwrap_or_default();
    let name = Name::new(&given_name).map_err(|_| {
        ApiError::client(format!(
            "Volume name '{given_name}' is invalid: it has 1 to 255 letters, digits, hyphens and \
             underscores."
        ))
    })?;
    let mut kinds = Vec::new();
    if let Some(docker) = given.docker_volume_configuration {
        kinds.push(VolumeKind::Docker(docker_volume(&name, docker)?));
    }
    if let Some(efs) = given.efs_volume_configuration {
        kinds.push(VolumeKind::Efs(efs_volume(efs)?));
    }
    if let Some(fsx) = given.fsx_windows_file_server_volume_configuration {
        let authorization = fsx.authorization_config.unwrap_or_default();
        kinds.push(VolumeKind::Fsx(FsxVolume {
            file_system_id: fsx.file_system_id.unwrap_or_default(),
            root_directory: fsx.root_directory.unwrap_or_default(),
            credentials_parameter: authorization.credentials_parameter.unwrap_or_default(),
            domain: authorization.domain.unwrap_or_default(),
        }));
    }
    if let Some(s3) = given.s3files_volume_configuration {
        kinds.push(VolumeKind::S3Files(S3FilesVolume {
            file_system_arn: s3.file_system_arn.unwrap_or_default(),
            root_directory: s3.root_directory,
            transit_encryption_port: s3.transit_encryption_port,
            access_point_arn: s3.access_point_arn,
        }));
    }
    if given.configured_at_launch == Some(true) {
        kinds.push(VolumeKind::ConfiguredAtLaunch);
    }
    let host_given = given.host.is_some();
    let source = given
        .host
        .and_then(|host| host.source_path)
        .filter(|path| !path.is_empty());
    if let Some(source_path) = source {
        kinds.push(VolumeKind::Host { source_path });
    }
    match kinds.len() {
        0 => Ok(Volume {
            name,
            kind: VolumeKind::Scratch { host_given },
        }),
        1 => Ok(Volume {
            name,
            kind: kinds.remove(0),
        }),
        _ => Err(ApiError::client(format!(
            "Volume '{name}' has more than one configuration. Specify exactly one."
        ))),
    }
}

fn docker_volume(
    name: &Name,
    given: wire::DockerVolumeConfiguration,
) -> Result<DockerVolume, ApiError> {
    let shared = match given.scope {
        None => None,
        Some(Scope::Shared) => Some(true),
        Some(Scope::Task) => Some(false),
        Some(Scope::Other(other)) => {
            return Err(ApiError::client(format!(
                "Volume '{name}': scope '{other}' is not one of [task, shared]."
            )));
        }
    };
    if given.autoprovision.is_some() && shared != Some(true) {
        return Err(ApiError::client(format!(
            "Volume '{name}': autoprovision is only valid when scope is shared."
        )));
    }
    Ok(DockerVolume {
        shared,
        autoprovision: given.autoprovision,
        driver: given.driver.filter(|driver| !driver.is_empty()),
        driver_opts: given.driver_opts,
        labels: given.labels,
    })
}

fn efs_volume(given: wire::EFSVolumeConfiguration) -> Result<EfsVolume, ApiError> {
    let authorization = given.authorization_config.unwrap_or_default();
    let access_point_id = text(authorization.access_point_id);
    let root = text(given.root_directory);
    if given.transit_encryption != Some(wire::EFSTransitEncryption::Enabled) {
        if authorization.iam == Some(wire::EFSAuthorizationConfigIAM::Enabled) {
            return Err(messages::volume::iam_unencrypted());
        }
        if access_point_id.is_some() {
            return Err(messages::volume::access_point_unencrypted());
        }
        if given.transit_encryption_port.is_some() {
            return Err(messages::volume::port_unencrypted());
        }
    }
    if access_point_id.is_some() && root.as_deref().is_some_and(|root| root != "/") {
        return Err(messages::volume::access_point_root());
    }
    Ok(EfsVolume {
        file_system_id: given.file_system_id.unwrap_or_default(),
        root_directory: root,
        transit_encryption: given
            .transit_encryption
            .map(|value| value.as_str().to_owned()),
        transit_encryption_port: given.transit_encryption_port,
        access_point_id,
        iam: authorization.iam.map(|value| value.as_str().to_owned()),
    })
}
