//! Control groups of one sandbox: `<parent>` for the task and `<parent>/c<slot>` for each container,
//! in every hierarchy of a v1 or hybrid host, or in the one of a v2 host.
//!
//! Scope: folders, limits, out-of-memory counters, killing and removing. Not here: how a process
//! gets in; on v2 it is born in the folder, on v1 it writes itself there ([`super::container`]).
//!
//! A hybrid host's `name=systemd` and empty v2 hierarchies are joined too: otherwise a container
//! counts as part of the agent's service and systemd ends it with the agent.

mod device;
mod installation;
mod remove;
mod v1;
mod v2;

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

pub(super) use device::{NodeKind, Programs, Rule, default_rules};
pub use installation::bound_processes;
pub use remove::{kill_cgroup, kill_shims, remove_cgroups};

use super::kernel;
use super::{OrFailed, StartError, cstring, failed, owned};
use crate::spec::{Limits, Oom};
use rustix::process::Pid;

/// The group of an installation's shims.
const SHIMS: &str = "_shims";

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: String,
    /// v1 controllers, `name=…` for a named one; empty for v2.
    controllers: Vec<String>,
    v2: bool,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }

    fn folder(&self, path: &str) -> String {
        format!("{}{path}", self.mount)
    }
}

/// How this host mounts its hierarchies.
#[derive(Debug)]
pub(super) struct Layout {
    hierarchies: Vec<Hierarchy>,
    /// The v2 hierarchy has the controllers.
    v2_only: bool,
}

impl Layout {
    /// The hierarchies that a service manager knows.
    fn managed(&self) -> impl Iterator<Item = &Hierarchy> {
        let managed = |h: &&Hierarchy| h.v2 || h.has("name=systemd");
        self.hierarchies.iter().filter(managed)
    }

    /// Reads the mount table of this process.
    pub(super) fn read() -> Result<Layout, StartError> {
        let table = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| io_failed("/proc/self/mountinfo", &error))?;
        Layout::parse(&table)
    }

    fn parse(table: &str) -> Result<Layout, StartError> {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in table.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let mut after = after.split(' ');
            let kind = after.next().unwrap_or_default();
            if kind != "cgroup" && kind != "cgroup2" {
                continue;
            }
            let Some(mount) = before.split(' ').nth(4) else {
                continue;
            };
            let v2 = kind == "cgroup2";
            let controllers: Vec<String> = after
                .nth(1)
                .unwrap_or_default()
                .split(',')
                .filter(|option| !v2 && !matches!(*option, "rw" | "ro" | "xattr"))
                .map(String::from)
                .collect();
            // A hierarchy may be mounted twice; the first mount is the usual place.
            if !hierarchies
                .iter()
                .any(|known| known.v2 == v2 && known.controllers == controllers)
            {
                hierarchies.push(Hierarchy {
                    mount: mount.to_owned(),
                    controllers,
                    v2,
                });
            }
        }
        let v1 = hierarchies.iter().any(|h| h.has("memory"));
        let v2_only = !v1 && hierarchies.iter().any(|h| h.v2);
        if v2_only {
            hierarchies.retain(|h| h.v2);
        }
        let missing = ["cpu", "cpuset", "memory", "pids", "devices", "freezer"]
            .into_iter()
            .find(|name| !v2_only && !hierarchies.iter().any(|h| h.has(name)));
        match missing {
            Some(name) => Err(failed(
                "cgroup",
                libc::ENODEV,
                format!("controller {name} is mounted neither as v1 nor as v2"),
            )),
            None => Ok(Layout {
                hierarchies,
                v2_only,
            }),
        }
    }

    pub(super) fn v2_only(&self) -> bool {
        self.v2_only
    }

    /// The folder of `path` in the hierarchy of a v1 controller, or in v2.
    fn folder(&self, controller: &str, path: &str) -> Option<String> {
        self.hierarchies
            .iter()
            .find(|h| {
                if self.v2_only {
                    h.v2
                } else {
                    h.has(controller)
                }
            })
            .map(|h| h.folder(path))
    }
}

/// The groups of one sandbox.
pub(super) struct Sandbox {
    layout: Layout,
    parent: String,
    programs: Programs,
}

/// A container's group, ready for its first process.
pub(super) struct Group {
    /// v1: where the process writes itself. Empty when it is born inside.
    pub(super) procs: Vec<OwnedFd>,
    /// v1: read-only views for the container's /sys/fs/cgroup, by folder name.
    pub(super) views: Vec<(CString, OwnedFd)>,
    /// v2: the folder to be born in.
    pub(super) folder: Option<OwnedFd>,
    pub(super) share: Option<Share>,
}

/// The group's part of busy processors, which its first process sets as the last thing before its
/// program: with the few shares of a small container, the start would take long on a busy machine.
pub(super) struct Share {
    /// Above every number that the sequence gives out itself.
    pub(super) file: OwnedFd,
    pub(super) value: CString,
}

/// The first number for [`Share::file`].
const SHARE_FD_MIN: i32 = 16;

impl Sandbox {
    /// `parent` is absolute, below each hierarchy's root: `/installation/sandbox`.
    pub(super) fn new(parent: &str) -> Result<Sandbox, StartError> {
        check_parent(parent)?;
        Ok(Sandbox {
            layout: Layout::read()?,
            parent: parent.to_owned(),
            programs: Programs::default(),
        })
    }

    pub(super) fn v2_only(&self) -> bool {
        self.layout.v2_only
    }

    /// Makes v1 groups for containers to come, whose sandbox has no name yet.
    pub(super) fn make_ahead(&self, slot: u32) -> Result<(), StartError> {
        let path = self.container_path(slot);
        for hierarchy in self.layout.hierarchies.iter().filter(|h| !h.v2) {
            make_folders(hierarchy, &path)?;
        }
        v1::inherit_cpuset(&self.layout, &path)
    }

    /// Gives groups that were made ahead the sandbox's name. v1 alone can rename; nobody waits in
    /// the v2 hierarchy of a hybrid host, so that its folders are made now.
    pub(super) fn rename(&mut self, parent: &str, slots: &[u32]) -> Result<(), StartError> {
        check_parent(parent)?;
        let old = std::mem::replace(&mut self.parent, parent.to_owned());
        for hierarchy in &self.layout.hierarchies {
            if hierarchy.v2 {
                for slot in slots {
                    make_folders(hierarchy, &self.container_path(*slot))?;
                }
            } else if !slots.is_empty() {
                let (from, to) = (hierarchy.folder(&old), hierarchy.folder(parent));
                fs::rename(&from, &to).map_err(|error| io_failed(&to, &error))?;
            }
        }
        Ok(())
    }

    /// Takes this process out of the service that its agent belongs to: a service manager ends every
    /// process of a service's group, and knows only its own hierarchy and the v2 one. The new group
    /// is the installation's, beside the sandboxes, and no name of one.
    pub(super) fn leave_service(&self) -> Result<(), StartError> {
        let installation = self.parent.rsplit_once('/').map_or("", |(above, _)| above);
        join_shims(&self.layout, installation, 0)
    }

    pub(super) fn parent(&self) -> &str {
        &self.parent
    }

    /// A forked process takes the name that its sandbox got after the fork.
    pub(super) fn set_parent(&mut self, parent: String) {
        self.parent = parent;
    }

    fn container_path(&self, slot: u32) -> String {
        format!("{}/c{slot}", self.parent)
    }

    /// Makes the parent group and sets its limits; again is fine.
    pub(super) fn prepare(&self, limits: &Limits) -> Result<(), StartError> {
        for hierarchy in &self.layout.hierarchies {
            make_folders(hierarchy, &self.parent)?;
        }
        if self.layout.v2_only {
            v2::delegate(&self.layout, &self.parent)?;
        } else {
            v1::inherit_cpuset(&self.layout, &self.parent)?;
        }
        self.limit(&self.parent, limits)?;
        self.set_share(&self.parent, limits)
    }

    /// Makes a container's fresh folders. Leftovers of a crash are replaced; a group that still has
    /// processes is refused, because a container must not share it.
    pub(super) fn make(&self, slot: u32) -> Result<(), StartError> {
        let path = self.container_path(slot);
        for hierarchy in &self.layout.hierarchies {
            let folder = hierarchy.folder(&path);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    fs::remove_dir(&folder)
                        .and_then(|()| fs::create_dir(&folder))
                        .map_err(|error| io_failed(&folder, &error))?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(failed(
                        "cgroup",
                        libc::ENOENT,
                        format!("{folder}: the sandbox's group has to be made first"),
                    ));
                }
                made => made.map_err(|error| io_failed(&folder, &error))?,
            }
        }
        if !self.layout.v2_only {
            v1::inherit_cpuset(&self.layout, &path)?;
        }
        Ok(())
    }

    /// Sets a container's limits and device rules, and opens what its process needs. `None` as rules
    /// is every device. With `born_inside` the process inherits the v1 groups.
    pub(super) fn open(
        &mut self,
        slot: u32,
        limits: &Limits,
        rules: Option<&[Rule]>,
        born_inside: bool,
    ) -> Result<Group, StartError> {
        let path = self.container_path(slot);
        self.limit(&path, limits)?;
        let mut group = Group {
            procs: Vec::new(),
            views: Vec::new(),
            folder: None,
            share: limits
                .cpu_shares
                .map(|shares| self.open_share(&path, shares))
                .transpose()?,
        };
        if self.layout.v2_only {
            let folder = self.v2_folder(&path)?;
            if let Some(rules) = rules {
                self.programs
                    .attach(folder.as_raw_fd(), rules)
                    .or_failed("cgroup", || format!("device program of {path}"))?;
            }
            group.folder = Some(folder);
            return Ok(group);
        }
        v1::set_devices(&self.layout, &path, rules)?;
        if born_inside {
            // The v1 groups are inherited; the v2 hierarchy of a hybrid host is born into.
            if self.layout.hierarchies.iter().any(|h| h.v2) {
                group.folder = Some(self.v2_folder(&path)?);
            }
        } else {
            group.procs = self.open_procs(&path)?;
        }
        for hierarchy in self.layout.hierarchies.iter().filter(|h| !h.v2) {
            let folder = hierarchy.folder(&path);
            let name = hierarchy.mount.rsplit('/').next().unwrap_or_default();
            let tree = kernel::open_tree(libc::AT_FDCWD, &cstring("cgroup", &folder)?, false)
                .or_failed("cgroup", || folder.clone())?;
            group.views.push((cstring("cgroup", name)?, owned(tree)));
        }
        Ok(group)
    }

    /// The way into a running container's group: for exec.
    pub(super) fn enter(&self, slot: u32) -> Result<Group, StartError> {
        let path = self.container_path(slot);
        let (procs, folder) = if self.layout.v2_only {
            (Vec::new(), Some(self.v2_folder(&path)?))
        } else {
            (self.open_procs(&path)?, None)
        };
        Ok(Group {
            procs,
            views: Vec::new(),
            folder,
            share: None,
        })
    }

    /// The files a parked process writes itself to: what it starts inherits v1 groups alone.
    pub(super) fn procs(&self, slot: u32) -> Result<Vec<OwnedFd>, StartError> {
        self.open_procs_where(&self.container_path(slot), |hierarchy| !hierarchy.v2)
    }

    fn open_procs(&self, path: &str) -> Result<Vec<OwnedFd>, StartError> {
        self.open_procs_where(path, |_| true)
    }

    fn open_procs_where(
        &self,
        path: &str,
        wanted: impl Fn(&Hierarchy) -> bool,
    ) -> Result<Vec<OwnedFd>, StartError> {
        self.layout
            .hierarchies
            .iter()
            .filter(|hierarchy| wanted(hierarchy))
            .map(|hierarchy| {
                let file = format!("{}/cgroup.procs", hierarchy.folder(path));
                kernel::open(&cstring("cgroup", &file)?, libc::O_WRONLY)
                    .map(owned)
                    .or_failed("cgroup", || file)
            })
            .collect()
    }

    fn v2_folder(&self, path: &str) -> Result<OwnedFd, StartError> {
        let v2 = self.layout.hierarchies.iter().find(|h| h.v2);
        let folder = v2.map(|h| h.folder(path)).unwrap_or_default();
        kernel::open(
            &cstring("cgroup", &folder)?,
            libc::O_RDONLY | libc::O_DIRECTORY,
        )
        .map(owned)
        .or_failed("cgroup", || folder)
    }

    fn open_share(&self, path: &str, shares: u64) -> Result<Share, StartError> {
        let (file, value) = self.share(shares);
        let folder = self.layout.folder("cpu", path).unwrap_or_default();
        let place = format!("{folder}/{file}");
        let opened = kernel::open(&cstring("cgroup", &place)?, libc::O_WRONLY)
            .map(owned)
            .or_failed("cgroup", || place.clone())?;
        let file = kernel::dup_above(opened.as_raw_fd(), SHARE_FD_MIN)
            .map(owned)
            .or_failed("cgroup", || place)?;
        Ok(Share {
            file,
            value: cstring("cgroup", &value.to_string())?,
        })
    }

    fn set_share(&self, path: &str, limits: &Limits) -> Result<(), StartError> {
        let Some(shares) = limits.cpu_shares else {
            return Ok(());
        };
        let (file, value) = self.share(shares);
        let folder = self.layout.folder("cpu", path).unwrap_or_default();
        set(&folder, file, value)
    }

    /// The setting's file and value.
    fn share(&self, shares: u64) -> (&'static str, u64) {
        if self.layout.v2_only {
            ("cpu.weight", v2::weight(shares))
        } else {
            ("cpu.shares", shares)
        }
    }

    fn limit(&self, path: &str, limits: &Limits) -> Result<(), StartError> {
        if self.layout.v2_only {
            v2::limit(&self.layout, path, limits)
        } else {
            v1::limit(&self.layout, path, limits)
        }
    }

    /// What the kernel counted, if it killed something of the container for memory.
    pub(super) fn oom(&self, slot: u32) -> Option<Oom> {
        let path = self.container_path(slot);
        let folder = self.layout.folder("memory", &path)?;
        let parent = self.layout.folder("memory", &self.parent)?;
        if self.layout.v2_only {
            v2::oom(&folder, &parent)
        } else {
            v1::oom(&folder, &parent)
        }
    }

    /// See [`super::Starter::oom_events`].
    pub(super) fn oom_events(&self, slot: u32) -> Result<OwnedFd, StartError> {
        let path = self.container_path(slot);
        let folder = self.layout.folder("memory", &path).unwrap_or_default();
        if self.layout.v2_only {
            let file = cstring("cgroup", &format!("{folder}/memory.events"))?;
            return kernel::watch_modified(&file)
                .map(owned)
                .or_failed("cgroup", || format!("{folder}/memory.events"));
        }
        v1::oom_events(&folder)
    }

    /// Kills every process of a container.
    pub(super) fn kill(&self, slot: u32) {
        remove::kill(&self.layout, &self.container_path(slot));
    }

    pub(super) fn remove(&self, slot: u32) -> Vec<StartError> {
        remove::remove(&self.layout, &self.container_path(slot))
    }

    pub(super) fn remove_parent(&self) -> Vec<StartError> {
        remove::remove(&self.layout, &self.parent)
    }
}

/// A parent must name something below the root, or limits would meet the whole machine and removal
/// foreign groups.
fn check_parent(parent: &str) -> Result<(), StartError> {
    let good = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && part.len() <= 255 && !part.contains('\0')
    };
    match parent.strip_prefix('/') {
        Some(rest) if rest.split('/').all(good) => Ok(()),
        _ => Err(failed(
            "cgroup",
            libc::EINVAL,
            format!("parent group {parent:?} has to be an absolute path below the root"),
        )),
    }
}

/// Takes another process out of the service that this one belongs to, as shims do by themselves,
/// into the group of the installation's shims.
///
/// # Errors
/// What the kernel says.
pub fn take_out_of_service(installation: &str, pid: Pid) -> Result<(), StartError> {
    join_shims(&Layout::read()?, installation, pid.as_raw_nonzero().get())
}

/// Process 0 is this one.
fn join_shims(layout: &Layout, installation: &str, pid: i32) -> Result<(), StartError> {
    let path = format!("{installation}/{SHIMS}");
    check_parent(&path)?;
    for hierarchy in layout.managed() {
        make_folders(hierarchy, &path)?;
        set(&hierarchy.folder(&path), "cgroup.procs", pid)?;
    }
    Ok(())
}

fn make_folders(hierarchy: &Hierarchy, path: &str) -> Result<(), StartError> {
    let folder = hierarchy.folder(path);
    fs::create_dir_all(&folder).map_err(|error| io_failed(&folder, &error))
}

/// Writes one setting of a group.
fn set(folder: &str, file: &str, value: impl ToString) -> Result<(), StartError> {
    let path = format!("{folder}/{file}");
    let value = value.to_string();
    // Not creating: in these file systems that turns "no such setting" into "permission denied".
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|error| io_failed(&format!("{value} to {path}"), &error))
}

fn get(folder: &str, file: &str) -> Option<String> {
    fs::read_to_string(format!("{folder}/{file}")).ok()
}

/// The value of `key value` lines.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

fn io_failed(what: &str, error: &std::io::Error) -> StartError {
    failed("cgroup", error.raw_os_error().unwrap_or(libc::EIO), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
        30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
        31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
        32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        34 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        35 30 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
        36 30 0:32 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
        37 30 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n\
        38 30 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
        39 99 0:30 / /elsewhere/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn mount_tables_become_layouts() {
        let hybrid = Layout::parse(HYBRID).unwrap();
        assert!(!hybrid.v2_only());
        assert_eq!(hybrid.hierarchies.len(), 8);
        assert_eq!(
            hybrid.folder("cpuacct", "/w/s").as_deref(),
            Some("/sys/fs/cgroup/cpu,cpuacct/w/s")
        );
        assert_eq!(
            hybrid.folder("memory", "/w/s").as_deref(),
            Some("/sys/fs/cgroup/memory/w/s")
        );
        let v2 = Layout::parse("29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n").unwrap();
        assert!(v2.v2_only());
        assert_eq!(
            v2.folder("memory", "/w").as_deref(),
            Some("/sys/fs/cgroup/w")
        );
        let none = Layout::parse("29 23 0:26 / /proc rw - proc proc rw\n").unwrap_err();
        assert_eq!(none.errno, libc::ENODEV);
    }

    #[test]
    fn parents_are_below_the_root() {
        for good in ["/a", "/windlass-ab12/x"] {
            assert!(check_parent(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a", "/a/", "//a", "/a/../b", "/.", "/a\0"] {
            assert!(check_parent(bad).is_err(), "{bad:?}");
        }
    }
}
