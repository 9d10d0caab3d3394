//! The run folder: where sandboxes are found by name. Private to root, as are all folders in it;
//! modes are repaired when a folder is opened, and links are not followed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::spec::SandboxId;
use crate::{Error, is_sandbox_id, shim, start};

const SPARE: &str = "spare-";
/// What of a shim's last words is worth telling.
const LAST_WORDS_BYTES_MAX: usize = 1024;

pub(crate) struct RunDir {
    path: PathBuf,
}

/// The folder of one shim.
pub(crate) struct Folder {
    path: PathBuf,
}

impl RunDir {
    pub(crate) fn open(path: &Path) -> Result<RunDir, Error> {
        std::fs::create_dir_all(path).map_err(|e| host(path, &e))?;
        own(path)?;
        // Links above are the operator's; the resolved path stays true when one is changed.
        let path = path.canonicalize().map_err(|e| host(path, &e))?;
        Ok(RunDir { path })
    }

    /// A new folder for a shim that has no sandbox yet.
    pub(crate) fn spare(&self, number: u64) -> Result<Folder, Error> {
        let pid = rustix::process::getpid().as_raw_nonzero();
        let path = self.path.join(format!("{SPARE}{pid}-{number}"));
        rustix::fs::mkdir(&path, Mode::RWXU).map_err(|e| host(&path, &e.into()))?;
        Ok(Folder { path })
    }

    pub(crate) fn find(&self, id: &SandboxId) -> Option<Folder> {
        let path = self.path.join(&id.0);
        path.symlink_metadata()
            .ok()
            .filter(std::fs::Metadata::is_dir)?;
        Some(Folder { path })
    }

    /// By id.
    pub(crate) fn sandboxes(&self) -> Result<Vec<(SandboxId, Folder)>, Error> {
        let names = self.names()?.into_iter().filter(|name| is_sandbox_id(name));
        Ok(names
            .filter_map(|name| {
                let id = SandboxId(name);
                self.find(&id).map(|folder| (id, folder))
            })
            .collect())
    }

    /// What spares of ended agents left. A spare that is still about to end is left for next time.
    pub(crate) fn remove_dead_spares(&self, cgroup_root: &str) {
        for name in self.names().unwrap_or_default() {
            let folder = Folder {
                path: self.path.join(&name),
            };
            if name.starts_with(SPARE) && folder.shim_pidfd().is_none() {
                folder.remove_groups(cgroup_root);
                folder.remove();
            }
        }
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = std::fs::read_dir(&self.path).map_err(|e| host(&self.path, &e))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn rename(&self, run_dir: &RunDir, id: &SandboxId) -> Result<(), Error> {
        let to = run_dir.path.join(&id.0);
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(rustix::fs::CWD, &self.path, rustix::fs::CWD, &to, flags).map_err(
            |errno| match errno {
                Errno::EXIST => Error::SandboxExists(id.clone()),
                errno => host(&to, &errno.into()),
            },
        )
    }

    pub(crate) fn open(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|e| host(&self.path, &e.into()))
    }

    /// The socket the shim answers on. It is bound before the shim runs: an agent can connect at
    /// once and is served when the shim is there.
    pub(crate) fn listen(&self) -> Result<OwnedFd, Error> {
        let folder = self.open()?;
        let listen = || -> Result<OwnedFd, Errno> {
            let flags = SocketFlags::CLOEXEC;
            let socket =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            rustix::net::bind(&socket, &address(folder.as_fd())?)?;
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::chmodat(&folder, shim::SOCKET, mode, AtFlags::empty())?;
            rustix::net::listen(&socket, 16)?;
            Ok(socket)
        };
        listen().map_err(|e| host(&self.path.join(shim::SOCKET), &e.into()))
    }

    /// The shim's process, when it is alive, by a descriptor that cannot mean another one.
    pub(crate) fn shim_pidfd(&self) -> Option<OwnedFd> {
        let text = std::fs::read_to_string(self.path.join(shim::PID)).ok()?;
        let (pid, started) = text.trim_end().split_once(' ')?;
        let pid: i32 = pid.parse().ok()?;
        let flags = rustix::process::PidfdFlags::empty();
        let pidfd =
            rustix::process::pidfd_open(rustix::process::Pid::from_raw(pid)?, flags).ok()?;
        // Compared after the descriptor exists: had the number been given again in between, the
        // start time would differ.
        (shim::start_time(pid) == Some(started.parse().ok()?)).then_some(pidfd)
    }

    /// Ends a spare at once: it has nothing to lose, and its children end with it.
    pub(crate) fn kill_shim(&self) {
        if let Some(pidfd) = self.shim_pidfd() {
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }

    /// Removes what a spare that has ended prepared.
    pub(crate) fn remove_groups(&self, cgroup_root: &str) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        for error in start::remove_cgroups(&format!("{cgroup_root}/{name}")) {
            tracing::warn!(%error, "a group of an ended spare shim stays");
        }
    }

    /// The end of what the shim wrote to its standard error.
    pub(crate) fn last_words(&self) -> Option<String> {
        let bytes = std::fs::read(self.path.join(shim::STDERR)).ok()?;
        let tail = &bytes[bytes.len().saturating_sub(LAST_WORDS_BYTES_MAX)..];
        let text = String::from_utf8_lossy(tail).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// Best effort: a folder that stays is found and removed later.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The socket in a folder, by the folder's descriptor: an address holds 107 bytes, a path more.
pub(crate) fn address(folder: std::os::fd::BorrowedFd<'_>) -> Result<SocketAddrUnix, Errno> {
    use std::os::fd::AsRawFd;
    SocketAddrUnix::new(format!(
        "/proc/self/fd/{}/{}",
        folder.as_raw_fd(),
        shim::SOCKET
    ))
}

/// Refuses a folder of somebody else, and closes an open one.
fn own(path: &Path) -> Result<(), Error> {
    let stat = rustix::fs::lstat(path).map_err(|e| host(path, &e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory
        || stat.st_uid != rustix::process::geteuid().as_raw()
    {
        return Err(Error::Host {
            what: path.display().to_string(),
            reason: "is not a folder of the agent's user; remove it or choose another".into(),
        });
    }
    rustix::fs::chmod(path, Mode::RWXU).map_err(|e| host(path, &e.into()))
}

pub(crate) fn host(path: &Path, error: &std::io::Error) -> Error {
    Error::Host {
        what: path.display().to_string(),
        reason: error.to_string(),
    }
}
