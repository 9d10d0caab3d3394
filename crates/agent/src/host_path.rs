//! Which paths of the host a container may have as a volume, and how they are found.
//!
//! One policy: what makes the machine what it is, that is its programs, settings, keys and boot
//! files, what the kernel shows of itself, other container engines and this node, hands over the node
//! to whoever holds it, so it is the operator's to give. The rest is data, which definitions name as
//! they like. Of the machine's own a container may read what every program needs: time zones,
//! certificates, the name of the system.
//!
//! A path is walked from the root, name by name and by descriptors. A link is followed where only
//! the machine's own programs can have made it, or where it leads further down: a container can plant
//! links in the folders that it has, and must not choose what others get. What is found has no link
//! in it, and whoever mounts it refuses one that comes later.

mod walk;

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use walk::{Fault, Walk};

/// What is the operator's, and what the operator gave.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    system: Vec<PathBuf>,
    readable: Vec<PathBuf>,
    allowed: Vec<Allowance>,
}

/// A path that the operator gives to containers with all that lies below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedPath {
    pub path: PathBuf,
    /// Read-only mounts alone.
    pub readonly: bool,
}

#[derive(Clone, Debug)]
struct Allowance {
    named: PathBuf,
    /// What it led to when the node started.
    resolved: PathBuf,
    readonly: bool,
}

/// The machine's own, wherever the node's folders are.
const SYSTEM: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/efi",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/proc",
    "/root",
    "/run/buildkit",
    "/run/containerd",
    "/run/crio",
    "/run/dbus",
    "/run/docker",
    "/run/docker.sock",
    "/run/incus",
    "/run/k3s",
    "/run/libvirt",
    "/run/podman",
    "/run/systemd",
    "/run/udev",
    "/run/user",
    "/sbin",
    "/snap",
    "/sys",
    "/usr",
    "/var/lib/cloud",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/dkms",
    "/var/lib/docker",
    "/var/lib/dpkg",
    "/var/lib/incus",
    "/var/lib/kubelet",
    "/var/lib/libvirt",
    "/var/lib/lxd",
    "/var/lib/rancher",
    "/var/lib/rpm",
    "/var/lib/snapd",
    "/var/lib/systemd",
    "/var/snap",
    "/var/spool/at",
    "/var/spool/cron",
];

/// What of it a container may read unasked.
const READABLE: &[&str] = &[
    "/etc/localtime",
    "/etc/os-release",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/etc/timezone",
    "/usr/lib/os-release",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("host path {0:?} is not an absolute path without \"..\"")]
    Shape(String),
    #[error(
        "host path {path:?} is, holds or lies in {system:?}, which would hand over the node; \
         the node's operator can allow it: windlass up --allow-host-path {}{suffix}",
        path.display()
    )]
    Denied {
        path: PathBuf,
        system: PathBuf,
        /// Of the flag's value.
        suffix: &'static str,
    },
    #[error(
        "host path {path:?} may be read alone: set readOnly in the mount point, or let the node's \
         operator allow more: windlass up --allow-host-path {}",
        path.display()
    )]
    ReadOnly { path: PathBuf },
    #[error(
        "host path {text:?} goes through the link {link:?}, which a container could have put there; \
         name what it leads to, {target:?}, or let the node's operator allow it: \
         windlass up --allow-host-path {text}"
    )]
    Link {
        text: String,
        link: PathBuf,
        target: PathBuf,
    },
    #[error("host path {path:?} is not there, and is not made among what is the machine's own")]
    Missing { path: PathBuf },
    #[error("host path {path:?}")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl Policy {
    /// Refuses the node's own folders beside the machine's; `allowed` and what lies below it is let
    /// through.
    pub fn new(own: &[&Path], allowed: &[AllowedPath]) -> Policy {
        let all = |paths: &[&str]| paths.iter().map(|path| resolved(Path::new(path))).collect();
        let mut system: Vec<PathBuf> = all(SYSTEM);
        // As they are named, too: where one is a link it could be made another's.
        system.extend(SYSTEM.iter().map(PathBuf::from));
        system.extend(own.iter().map(|path| resolved(path)));
        let mut readable: Vec<PathBuf> = all(READABLE);
        readable.extend(READABLE.iter().map(PathBuf::from));
        let allowed = allowed.iter().map(|allowed| Allowance {
            named: allowed.path.clone(),
            resolved: resolved(&allowed.path),
            readonly: allowed.readonly,
        });
        Policy {
            system,
            readable,
            allowed: allowed.collect(),
        }
    }

    /// The path to mount, without links; a folder that is missing is made, as container engines do,
    /// but for those among the machine's own.
    ///
    /// # Errors
    /// It is refused, or cannot be made or found.
    pub fn resolve(&self, text: &str, readonly: bool) -> Result<PathBuf, Error> {
        if !is_plain(text) {
            return Err(Error::Shape(text.to_owned()));
        }
        let fault = |fault| match fault {
            Fault::Link { link, target } => Error::Link {
                text: text.to_owned(),
                link,
                target,
            },
            Fault::Kernel(errno) => Error::File {
                path: text.to_owned(),
                source: errno.into(),
            },
        };
        let mut walk = Walk::begin(&self.as_given(Path::new(text))).map_err(fault)?;
        let found = walk.go(&|folder| self.system_at(folder).is_some());
        if let Some(path) = found.map_err(fault)? {
            self.check(&path, readonly)?;
            return Ok(path);
        }
        let path = walk.missing();
        self.check(&path, readonly)?;
        match self.system_at(&path) {
            Some(_) => Err(Error::Missing { path }),
            None => walk.make().map_err(fault),
        }
    }

    /// The operator's links are followed as they were when the node started.
    fn as_given(&self, path: &Path) -> PathBuf {
        let given = self
            .allowed
            .iter()
            .filter_map(|allowed| Some((path.strip_prefix(&allowed.named).ok()?, allowed)))
            .min_by_key(|(below, _)| below.components().count());
        match given {
            Some((below, allowed)) => allowed.resolved.join(below),
            None => path.to_owned(),
        }
    }

    /// What of the machine's own the path is, holds or lies in.
    fn system_at(&self, path: &Path) -> Option<&PathBuf> {
        let meets = |own: &&PathBuf| own.starts_with(path) || path.starts_with(own);
        self.system.iter().find(meets)
    }

    fn check(&self, path: &Path, readonly: bool) -> Result<(), Error> {
        let given = |allowed: &&Allowance| path.starts_with(&allowed.resolved);
        let mut given = self.allowed.iter().filter(given).peekable();
        let is_given = given.peek().is_some();
        if given.any(|allowed| readonly || !allowed.readonly) {
            return Ok(());
        }
        let Some(system) = self.system_at(path) else {
            return Ok(());
        };
        let is_readable = self.readable.iter().any(|own| path.starts_with(own));
        match (is_readable, readonly) {
            (true, true) => Ok(()),
            (true, false) => Err(Error::ReadOnly { path: path.into() }),
            (false, false) if is_given => Err(Error::ReadOnly { path: path.into() }),
            (false, _) => Err(Error::Denied {
                path: path.to_owned(),
                system: system.clone(),
                suffix: if readonly { ":ro" } else { "" },
            }),
        }
    }
}

fn is_plain(text: &str) -> bool {
    let path = Path::new(text);
    let mut parts = path.components();
    path.is_absolute()
        && !text.contains('\0')
        && parts.all(|part| !matches!(part, Component::ParentDir))
}

/// What a path leads to now, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let there = path
        .ancestors()
        .find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    match there {
        Some((above, real)) => match path.strip_prefix(above) {
            Ok(below) if below != Path::new("") => real.join(below),
            _ => real,
        },
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
