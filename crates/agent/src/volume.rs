//! The volumes of a task, as mounts of its containers.
//!
//! Scratch folders and task-scoped volumes live in the task's folder and go with it; shared ones
//! live in the node's volume folder and stay. What is not provided is refused by name.

mod fill;

use crate::host_path::Policy;
use crate::limits::VOLUMES_FROM_DEPTH_MAX;
use crate::reason;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use windlass_model::container::ContainerDefinition;
use windlass_model::container_fault::ContainerFault;
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
    /// Of the container's image, topmost first.
    pub layers: &'a [PathBuf],
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
        let own = image_volumes_of(folders, source.name.as_str())?;
        for mut mount in own
            .into_iter()
            .chain(collect(folders, template, source, depth - 1)?)
        {
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
        let readonly = point.read_only == Some(true);
        let source = source(folders, volume, &point.container_path, readonly);
        let source = source.map_err(|reason| of_volume(volume, reason))?;
        let mount = Mount {
            readonly,
            ..bind(&source, &point.container_path)
        };
        put(&mut mounts, mount);
    }
    Ok(mounts)
}

/// Adds a mount; one at the same place is replaced.
pub fn put(mounts: &mut Vec<Mount>, mount: Mount) {
    mounts.retain(|other| !is_same(&other.target, &mount.target));
    mounts.push(mount);
}

fn is_same(one: &str, other: &str) -> bool {
    Path::new(one)
        .components()
        .eq(Path::new(other).components())
}

/// Makes the volumes that an image wants and nothing else is mounted over: folders of the
/// container's own, which last as long as its task. Where each belongs is written beside it, for
/// containers that take their volumes from this one.
///
/// # Errors
/// The reason to show.
pub fn image_volumes(
    folders: &Folders<'_>,
    definition: &ContainerDefinition,
    wanted: &[String],
    mounts: &[Mount],
) -> Result<Vec<Mount>, ContainerReason> {
    let linux = definition.linux_parameters.as_ref();
    let in_memory = linux.and_then(|linux| linux.tmpfs.as_ref()).into_iter();
    let in_memory: Vec<&str> = in_memory
        .flatten()
        .map(|tmpfs| tmpfs.container_path.as_str())
        .collect();
    let taken = |target: &str| {
        let mut others = mounts.iter().map(|mount| mount.target.as_str());
        others.any(|other| is_same(other, target))
            || in_memory.iter().any(|other| is_same(other, target))
    };
    let place = image_volumes_place(folders, definition.name.as_str());
    let mut made = Vec::new();
    for (number, target) in wanted.iter().enumerate() {
        if taken(target) {
            continue;
        }
        let path = folder(folders, place.join(number.to_string()), target)?;
        let note = place.join(format!("{number}.path"));
        fs::write(&note, target).map_err(|e| failed(format!("write {}: {e}", note.display())))?;
        made.push(bind(&path, target));
    }
    Ok(made)
}

fn image_volumes_place(folders: &Folders<'_>, container: &str) -> PathBuf {
    folders
        .task
        .join("containers")
        .join(container)
        .join("volumes")
}

/// Those that [`image_volumes`] made for a container of the task.
fn image_volumes_of(folders: &Folders<'_>, container: &str) -> Result<Vec<Mount>, ContainerReason> {
    let place = image_volumes_place(folders, container);
    let wrong = |error: io::Error| failed(format!("read {}: {error}", place.display()));
    let entries = match fs::read_dir(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(wrong)?,
    };
    let mut mounts = Vec::new();
    for entry in entries {
        let note = entry.map_err(wrong)?.path();
        if note
            .extension()
            .is_some_and(|extension| extension == "path")
        {
            let target = fs::read_to_string(&note).map_err(wrong)?;
            mounts.push(bind(&note.with_extension(""), &target));
        }
    }
    Ok(mounts)
}

fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        target: target.to_owned(),
        kind: MountKind::Bind {
            source: source.to_string_lossy().into_owned(),
        },
        readonly: false,
    }
}

fn source(
    folders: &Folders<'_>,
    volume: &Volume,
    container_path: &str,
    readonly: bool,
) -> Result<PathBuf, ContainerReason> {
    let path = folders.task.join("volumes").join(volume.name.as_str());
    let own = || folder(folders, path, container_path);
    match &volume.kind {
        VolumeKind::Scratch { .. } => own(),
        VolumeKind::Host { source_path } => {
            let resolved = folders.policy.resolve(source_path, readonly);
            resolved.map_err(|error| {
                let detail = reason::chain(&error);
                reason::of(ReasonName::CannotCreateContainerError, detail)
            })
        }
        VolumeKind::Docker(docker) => {
            refuse_driver(volume, docker)?;
            match docker.shared {
                Some(true) => shared(folders, volume, docker, container_path),
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
    container_path: &str,
) -> Result<PathBuf, ContainerReason> {
    let path = folders.shared.join(volume.name.as_str());
    match docker.autoprovision == Some(true) || path.is_dir() {
        true => folder(folders, path, container_path),
        false => Err(failed(format!("get {}: no such volume", volume.name))),
    }
}

/// Makes a volume's folder when it is missing, and fills it when it is empty.
fn folder(
    folders: &Folders<'_>,
    path: PathBuf,
    container_path: &str,
) -> Result<PathBuf, ContainerReason> {
    fill::make(folders.layers, &path, container_path)
        .map_err(|error| failed(format!("make {}: {error}", path.display())))?;
    Ok(path)
}

/// Says which volume it is about, for whom the path that failed means nothing.
fn of_volume(volume: &Volume, reason: ContainerReason) -> ContainerReason {
    let fault = ContainerFault::Volume {
        volume: volume.name.to_string(),
        error: reason.detail.clone(),
    };
    reason.with_fault(fault)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_that_are_not_provided_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let policy = Policy::new(&[root.path()], &[]);
        let shared = root.path().join("shared");
        let folders = Folders {
            task: root.path(),
            shared: &shared,
            policy: &policy,
            layers: &[],
        };
        let docker = |docker: DockerVolume| VolumeKind::Docker(docker);
        let other = DockerVolume {
            driver: Some("rexray".into()),
            ..Default::default()
        };
        let missing = DockerVolume {
            shared: Some(true),
            ..Default::default()
        };
        let made = DockerVolume {
            autoprovision: Some(true),
            ..missing.clone()
        };
        for (kind, refused) in [
            (VolumeKind::Scratch { host_given: true }, None),
            (docker(DockerVolume::default()), None),
            (docker(made), None),
            (docker(other), Some("driver rexray")),
            (docker(missing), Some("no such volume")),
            (
                VolumeKind::Efs(Default::default()),
                Some("efsVolumeConfiguration"),
            ),
            (VolumeKind::ConfiguredAtLaunch, Some("configuredAtLaunch")),
            (
                VolumeKind::Host {
                    source_path: "/".into(),
                },
                Some("hand over the node"),
            ),
        ] {
            let name = windlass_model::id::Name::new(refused.map_or("v", |_| "x")).unwrap();
            let result = source(&folders, &Volume { name, kind }, "/data", false);
            match (result, refused) {
                (Ok(path), None) => assert!(path.is_dir()),
                (Err(reason), Some(text)) => assert!(reason.detail.contains(text), "{reason:?}"),
                (other, _) => panic!("{other:?}, {refused:?}"),
            }
        }
    }
}
