//! The volumes of a task, as mounts of its containers.
//!
//! Scratch folders and task-scoped volumes live in the task's folder and go with it; shared ones
//! live in the node's volume folder and stay. What is not provided is refused by name.

use crate::host_path::Policy;
use crate::limits::VOLUMES_FROM_DEPTH_MAX;
use crate::reason;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use windlass_model::container::ContainerDefinition;
use windlass_model::definition::Template;
use windlass_model::stop::{ContainerReason, ReasonName};
use windlass_model::volume::{DockerVolume, Volume, VolumeKind};
use windlass_runtime::spec::{Mount, MountKind};

/// Where volumes are.
pub struct Folders<'a> {
    /// The task's own, removed with it.
    pub task: &'a Path,
    /// The node's named volumes.
    pub shared: &'a Path,
    pub policy: &'a Policy,
}

/// The mounts of one container: those of `volumesFrom` first, then its own, which win.
///
/// # Errors
/// The reason to show.
pub fn mounts(
    folders: &Folders<'_>,
    template: &Template,
    definition: &ContainerDefinition,
) -> Result<Vec<Mount>, ContainerReason> {
    collect(folders, template, definition, VOLUMES_FROM_DEPTH_MAX)
}

fn collect(
    folders: &Folders<'_>,
    template: &Template,
    definition: &ContainerDefinition,
    depth: usize,
) -> Result<Vec<Mount>, ContainerReason> {
    let mut mounts: Vec<Mount> = Vec::new();
    let sources = definition.volumes_from.iter().filter(|_| depth > 0);
    for from in sources {
        let source = template
            .containers
            .iter()
            .find(|c| c.name == from.source_container);
        let Some(source) = source else {
            return Err(failed(format!(
                "no container {} to take volumes from",
                from.source_container
            )));
        };
        for mut mount in collect(folders, template, source, depth - 1)? {
            mount.readonly |= from.read_only == Some(true);
            put(&mut mounts, mount);
        }
    }
    for point in &definition.mount_points {
        let volume = template
            .volumes
            .iter()
            .find(|v| v.name.as_str() == point.source_volume);
        let Some(volume) = volume else {
            return Err(failed(format!("no volume {:?}", point.source_volume)));
        };
        let source = source(folders, volume)?;
        put(
            &mut mounts,
            Mount {
                target: point.container_path.clone(),
                kind: MountKind::Bind {
                    source: source.to_string_lossy().into_owned(),
                },
                readonly: point.read_only == Some(true),
            },
        );
    }
    Ok(mounts)
}

/// Adds a mount; one at the same place is replaced.
pub fn put(mounts: &mut Vec<Mount>, mount: Mount) {
    let same =
        |other: &Mount| other.target.trim_end_matches('/') == mount.target.trim_end_matches('/');
    mounts.retain(|other| !same(other));
    mounts.push(mount);
}

fn source(folders: &Folders<'_>, volume: &Volume) -> Result<PathBuf, ContainerReason> {
    let own = || folder(folders.task.join("volumes").join(volume.name.as_str()));
    match &volume.kind {
        VolumeKind::Scratch { .. } => own(),
        VolumeKind::Host { source_path } => folders.policy.resolve(source_path).map_err(|error| {
            reason::of(
                ReasonName::CannotCreateContainerError,
                reason::chain(&error),
            )
        }),
        VolumeKind::Docker(docker) => {
            refuse_driver(volume, docker)?;
            match docker.shared {
                Some(true) => shared(folders, volume, docker),
                _ => own(),
            }
        }
        VolumeKind::Efs(_) => Err(not_provided(volume, "efsVolumeConfiguration")),
        VolumeKind::Fsx(_) => Err(not_provided(
            volume,
            "fsxWindowsFileServerVolumeConfiguration",
        )),
        VolumeKind::S3Files(_) => Err(not_provided(volume, "s3filesVolumeConfiguration")),
        VolumeKind::ConfiguredAtLaunch => Err(not_provided(volume, "configuredAtLaunch")),
    }
}

fn refuse_driver(volume: &Volume, docker: &DockerVolume) -> Result<(), ContainerReason> {
    match docker.driver.as_deref() {
        None | Some("local" | "") => {}
        Some(driver) => return Err(not_provided(volume, &format!("driver {driver}"))),
    }
    match docker
        .driver_opts
        .as_ref()
        .is_some_and(|options| !options.is_empty())
    {
        true => Err(not_provided(volume, "driverOpts")),
        false => Ok(()),
    }
}

fn shared(
    folders: &Folders<'_>,
    volume: &Volume,
    docker: &DockerVolume,
) -> Result<PathBuf, ContainerReason> {
    let path = folders.shared.join(volume.name.as_str());
    match docker.autoprovision == Some(true) || path.is_dir() {
        true => folder(path),
        false => Err(failed(format!("get {}: no such volume", volume.name))),
    }
}

fn folder(path: PathBuf) -> Result<PathBuf, ContainerReason> {
    match DirBuilder::new().recursive(true).mode(0o755).create(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(failed(format!("make {}: {error}", path.display()))),
    }
}

fn failed(detail: String) -> ContainerReason {
    reason::of(ReasonName::CannotCreateVolumeError, detail)
}

fn not_provided(volume: &Volume, what: &str) -> ContainerReason {
    reason::of(
        ReasonName::ResourceInitializationError,
        format!(
            "volume {}: {what} is not provided by this release of Windlass",
            volume.name
        ),
    )
}
