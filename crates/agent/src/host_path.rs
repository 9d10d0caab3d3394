//! Which paths of the host a container may have as a volume.
//!
//! Whoever holds the host's root, the node's data or run folder, a container engine's socket, or
//! /proc, /sys and /dev, holds the node. They are refused by their resolved path, so that a link
//! or `..` leads around nothing; so is every folder above one of them. An operator may allow
//! single paths.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// What is refused and what is allowed all the same.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    denied: Vec<PathBuf>,
    allowed: Vec<PathBuf>,
}

/// Paths that hand over a machine, wherever the node's own folders are.
const DENIED: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/run/docker.sock",
    "/run/containerd",
    "/run/docker",
    "/run/crio",
    "/run/podman",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("host path {0:?} is not an absolute path without \"..\"")]
    Shape(String),
    #[error(
        "host path {path:?} is, holds or lies in {denied:?}, which would hand over the node; \
         the node's operator can allow it"
    )]
    Denied { path: PathBuf, denied: PathBuf },
    #[error("host path {path:?}")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl Policy {
    /// Refuses the node's own folders beside the usual ones; `allowed` and what lies below it is
    /// let through.
    pub fn new(own: &[&Path], allowed: &[PathBuf]) -> Policy {
        let resolved = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let own = own.iter().map(|path| resolved(path));
        let denied = DENIED
            .iter()
            .map(|path| resolved(Path::new(path)))
            .chain(own)
            .collect();
        Policy {
            denied,
            allowed: allowed.iter().map(|path| resolved(path)).collect(),
        }
    }

    /// The path to mount, resolved; a folder that is missing is made, as container engines do.
    ///
    /// # Errors
    /// It is refused, or cannot be made or resolved.
    pub fn resolve(&self, text: &str) -> Result<PathBuf, Error> {
        let path = Path::new(text);
        let plain = path.is_absolute()
            && !text.contains('\0')
            && path
                .components()
                .all(|part| !matches!(part, Component::ParentDir));
        if !plain {
            return Err(Error::Shape(text.to_owned()));
        }
        // What exists of it is checked before anything is made below it.
        let existing = path
            .ancestors()
            .find_map(|above| fs::canonicalize(above).ok());
        let rest_missing = fs::symlink_metadata(path).is_err();
        if let (Some(existing), true) = (&existing, rest_missing) {
            self.check_inside(existing)?;
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path);
            made.map_err(|source| Error::File {
                path: text.to_owned(),
                source,
            })?;
        }
        let resolved = fs::canonicalize(path).map_err(|source| Error::File {
            path: text.to_owned(),
            source,
        })?;
        self.check(&resolved)?;
        Ok(resolved)
    }

    fn check(&self, path: &Path) -> Result<(), Error> {
        if self.allowed.iter().any(|allowed| path.starts_with(allowed)) {
            return Ok(());
        }
        // A folder above a denied one shows it; the root is above them all.
        match self.denied.iter().find(|denied| denied.starts_with(path)) {
            Some(denied) => Err(Error::Denied {
                path: path.to_owned(),
                denied: denied.clone(),
            }),
            None => self.check_inside(path),
        }
    }

    fn check_inside(&self, path: &Path) -> Result<(), Error> {
        if self.allowed.iter().any(|allowed| path.starts_with(allowed)) {
            return Ok(());
        }
        match self.denied.iter().find(|denied| path.starts_with(denied)) {
            Some(denied) => Err(Error::Denied {
                path: path.to_owned(),
                denied: denied.clone(),
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_hands_over_the_node_is_refused_by_its_resolved_path() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("node/data");
        fs::create_dir_all(&data).unwrap();
        let free = folder.path().join("free");
        fs::create_dir_all(&free).unwrap();
        symlink(&data, free.join("link")).unwrap();
        symlink("/", free.join("root")).unwrap();
        let policy = Policy::new(&[&data], &[]);
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        for bad in [
            "/".into(),
            "/proc".into(),
            "/proc/sys".into(),
            "/dev/".into(),
            "/run".into(),
            "/var/lib".into(),
            "relative".into(),
            "/tmp/../proc".into(),
            text(&data),
            text(&data) + "/deeper/made",
            text(data.parent().unwrap()),
            text(&free.join("link")),
            text(&free.join("link/new")),
            text(&free.join("root")),
            text(&free.join("root/sys")),
        ] {
            assert!(policy.resolve(&bad).is_err(), "{bad}");
        }
        assert!(!data.join("deeper").exists() && !data.join("new").exists());
        let made = free.join("a/b");
        assert_eq!(
            policy.resolve(&text(&made)).unwrap(),
            fs::canonicalize(&made).unwrap()
        );
        let allowing = Policy::new(&[&data], std::slice::from_ref(&data));
        assert!(allowing.resolve(&text(&data)).is_ok());
    }
}
