//! The volumes of a task, as mounts of its containers.
//!
//! Scratch folders and task-scoped volumes live in the task's folder and go with it; shared ones
//! live in the node's volume folder and stay. What is not provided is refused by name.

use crate::host_path::Policy;
use crate::limits::VOLUMES_FROM_DEPTH_MAX;
use crate::reason;
use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};
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
        let source = source(folders, volume, &point.container_path)?;
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

fn source(
    folders: &Folders<'_>,
    volume: &Volume,
    container_path: &str,
) -> Result<PathBuf, ContainerReason> {
    let path = folders.task.join("volumes").join(volume.name.as_str());
    let own = || folder(folders, path, container_path);
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

/// Makes a volume's folder when it is missing. A new one gets owner and mode of the folder it
/// covers in the image, so that a program that is not root may write where its image lets it.
fn folder(
    folders: &Folders<'_>,
    path: PathBuf,
    container_path: &str,
) -> Result<PathBuf, ContainerReason> {
    let wrong = |error: io::Error| failed(format!("make {}: {error}", path.display()));
    let is_new = !path.is_dir();
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&path)
        .map_err(wrong)?;
    let covered = folders
        .layers
        .iter()
        .find_map(|layer| folder_in(layer, container_path));
    if let (true, Some(covered)) = (is_new, covered) {
        chown(&path, Some(covered.uid()), Some(covered.gid())).map_err(wrong)?;
        let mode = Permissions::from_mode(covered.mode() & 0o7777);
        fs::set_permissions(&path, mode).map_err(wrong)?;
    }
    Ok(path)
}

/// A folder of a layer, reached without following a link.
fn folder_in(layer: &Path, container_path: &str) -> Option<Metadata> {
    let mut at = layer.to_owned();
    let mut found = None;
    for part in Path::new(container_path).components() {
        match part {
            Component::Normal(name) => at.push(name),
            Component::RootDir | Component::CurDir => continue,
            Component::ParentDir | Component::Prefix(_) => return None,
        }
        found = Some(fs::symlink_metadata(&at).ok().filter(Metadata::is_dir)?);
    }
    found
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
    fn a_new_volume_takes_owner_and_mode_of_the_folder_it_covers() {
        let root = tempfile::tempdir().unwrap();
        let layer = root.path().join("layer");
        fs::create_dir_all(layer.join("var/data")).unwrap();
        fs::set_permissions(layer.join("var/data"), Permissions::from_mode(0o1770)).unwrap();
        std::os::unix::fs::symlink("/etc", layer.join("link")).unwrap();
        let (layers, policy) = ([layer], Policy::default());
        let shared = root.path().join("shared");
        let folders = Folders {
            task: root.path(),
            shared: &shared,
            policy: &policy,
            layers: &layers,
        };
        let mode = |name: &str, covers: &str| {
            let path = folder(&folders, root.path().join(name), covers).unwrap();
            fs::metadata(path).unwrap().mode() & 0o7777
        };
        assert_eq!(mode("a", "/var/data"), 0o1770);
        fs::set_permissions(root.path().join("a"), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(
            mode("a", "/var/data"),
            0o700,
            "one that was there stays as it is"
        );
        assert_eq!(mode("b", "/nowhere"), 0o755);
        assert_eq!(mode("c", "/link"), 0o755, "no link is followed");
        assert_eq!(mode("d", "/var/../var/data"), 0o755);
    }

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
            let result = source(&folders, &Volume { name, kind }, "/data");
            match (result, refused) {
                (Ok(path), None) => assert!(path.is_dir()),
                (Err(reason), Some(text)) => assert!(reason.detail.contains(text), "{reason:?}"),
                (other, _) => panic!("{other:?}, {refused:?}"),
            }
        }
    }
}
