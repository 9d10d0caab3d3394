//! Network namespaces that stay without a process: bind mounts in a folder of the installation.
//!
//! A thread that is thrown away afterwards enters the new namespace, so neither a process is
//! started nor does any other thread ever leave its own. Threads made for it end at once.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::mount::UnmountFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::error::{Error, Result, Trying};
use crate::limits;
use crate::link;
use crate::netlink::{Family, Socket};

const LOOPBACK: u32 = 1;

/// Settings of a new namespace, made before any interface but loopback is in it.
const SYSCTLS: [(&str, &str); 4] = [
    // The network has IPv4 only, and an address that nobody filters is a way around the filters.
    // Loopback keeps ::1.
    ("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"),
    ("/proc/sys/net/ipv6/conf/default/accept_ra", "0"),
    // As containers have them elsewhere: ports below 1024 and ping need no capability.
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
];

/// The folder that holds the namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it is not there.
    pub(crate) fn open(run_dir: &Path) -> Result<Self> {
        let path = run_dir.join("netns");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .trying(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where a namespace is. Names come from ids, and may not lead out of the folder.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let good = (1..=limits::NAMESPACE_NAME).contains(&name.len())
            && name.bytes().all(plain)
            && !name.starts_with('.');
        if good {
            Ok(self.0.join(name))
        } else {
            Err(Error::NamespaceName(name.to_owned()))
        }
    }

    /// Names of all namespaces in the folder.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.0).trying(|| format!("read {}", self.0.display()))?;
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Gives a namespace its name here, by which it stays without a process.
    pub(crate) fn bind(&self, name: &str, namespace: &File) -> Result<()> {
        let path = self.path(name)?;
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&path);
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::NamespaceExists(name.to_owned()));
            }
            other => other.trying(|| format!("create {}", path.display()))?,
        };
        let file = format!("/proc/self/fd/{}", namespace.as_raw_fd());
        let bound = rustix::mount::mount_bind(file, &path)
            .trying(|| format!("name network namespace {name}"));
        if bound.is_err() {
            let _ = self.remove(name);
        }
        bound
    }

    /// A file that stands for the namespace.
    pub(crate) fn file(&self, name: &str) -> Result<File> {
        let path = self.path(name)?;
        let open = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path);
        let file = match open {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoNamespace(name.to_owned()));
            }
            other => other.trying(|| format!("open {}", path.display()))?,
        };
        // A crash between the file and the mount leaves a plain file.
        let stat = rustix::fs::fstatfs(&file).trying(|| format!("look at {}", path.display()))?;
        const NSFS: u64 = 0x6e73_6673;
        if stat.f_type as u64 != NSFS {
            return Err(Error::NoNamespace(name.to_owned()));
        }
        Ok(file)
    }

    /// A socket that works in the namespace.
    pub(crate) fn socket(&self, name: &str) -> Result<Socket> {
        let file = self.file(name)?;
        in_thread(|| {
            rustix::thread::move_into_link_name_space(
                file.as_fd(),
                Some(LinkNameSpaceType::Network),
            )?;
            Socket::open(Family::Route)
        })
        .and_then(|result| result)
        .trying(|| format!("enter network namespace {name}"))
    }

    /// Lets go of a namespace: it ends with its last process, and its links with it.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        // Several mounts if something mounted over it; a plain file has none.
        loop {
            match rustix::mount::unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) => {}
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => break,
                Err(error) => return Err(error).trying(|| format!("unmount {}", path.display())),
            }
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.trying(|| format!("remove {}", path.display())),
        }
    }

    /// Removes the folder itself, when it is empty.
    pub(crate) fn close(&self) -> Result<()> {
        match fs::remove_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.trying(|| format!("remove {}", self.0.display())),
        }
    }
}

/// Makes a namespace, with its loopback up, that ends with its file. Answers a socket that works in
/// it, too.
pub(crate) fn create() -> Result<(File, Socket)> {
    in_thread(enter_new)
        .and_then(|result| result)
        .trying(|| "create a network namespace".into())
}

fn enter_new() -> io::Result<(File, Socket)> {
    // SAFETY: only this thread's network namespace changes; no file descriptor table is unshared,
    // and the thread ends when this closure does.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    for (path, value) in SYSCTLS {
        match fs::write(path, value) {
            // A kernel without IPv6, or without this setting.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    let socket = Socket::open(Family::Route)?;
    link::set_up(&socket, LOOPBACK, true).map_err(io::Error::other)?;
    Ok((File::open("/proc/thread-self/ns/net")?, socket))
}

fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("wl-netns".into());
        let handle = thread.spawn_scoped(scope, work)?;
        handle
            .join()
            .map_err(|_| io::Error::other("the namespace thread panicked"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        let folder = Folder(PathBuf::from("/run/x"));
        for (name, good) in [
            ("task-1.web", true),
            ("", false),
            (".", false),
            ("..", false),
            ("../../etc", false),
            ("a/b", false),
            ("a\0b", false),
        ] {
            assert_eq!(folder.path(name).is_ok(), good, "{name:?}");
        }
        assert!(
            folder
                .path(&"x".repeat(limits::NAMESPACE_NAME + 1))
                .is_err()
        );
    }
}
