//! Which paths of the host a container may have as a volume.
//!
//! Whoever holds the host's root, the node's data or run folder, a container engine's socket, or
//! /proc, /sys and /dev, holds the node. They are refused by their resolved path, so that a link
//! or `..` leads around nothing; so is every folder above one of them. An operator may allow
//! single paths.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use std::fs;
use std::io;
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
            .find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
        let missing = fs::symlink_metadata(path).is_err();
        if let (Some((above, existing)), true) = (&existing, missing) {
            self.check_inside(existing)?;
            let below = path.strip_prefix(above).unwrap_or(Path::new(""));
            make(existing, below).map_err(|source| Error::File {
                path: text.to_owned(),
                source: source.into(),
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

/// Makes the folders of `below` in `folder`, which is resolved. A container may share one of them:
/// each is opened where it was made, and a link that came in its place is not followed.
fn make(folder: &Path, below: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS;
    let mut at = rustix::fs::openat2(CWD, folder, flags, Mode::empty(), resolve)?;
    for part in below.components() {
        let name = part.as_os_str();
        match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        at = rustix::fs::openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(())
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

    #[test]
    fn folders_are_made_through_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for name in ["free", "canary"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        // As if a container had put it there after the check.
        symlink(root.join("canary"), root.join("free/link")).unwrap();
        assert!(make(&root.join("free"), Path::new("link/new")).is_err());
        assert!(make(&root.join("free/link"), Path::new("new")).is_err());
        assert_eq!(fs::read_dir(root.join("canary")).unwrap().count(), 0);
        make(&root.join("free"), Path::new("a/b")).unwrap();
        make(&root.join("free"), Path::new("a/b/c")).unwrap();
        assert!(root.join("free/a/b/c").is_dir());
    }
}
