//! A container's first process, between clone and execve: mounts, hostname, terminal.
//!
//! No allocation and no lock; see [`super::kernel`]. Mounts are made detached and attached from
//! descriptor to descriptor. The image's files are looked up only for the three targets /proc,
//! /dev, /sys (no links at all) and for volumes (links inside the root); everything below those
//! three goes through the mounts made here, so the image has no say in it.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::cgroup::Group;
use super::device::{self, Elsewhere};
use super::file::{File, Memory};
use super::kernel::{
    self, ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, ATTR_STRICTATIME, EMPTY,
    RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, Sys,
};
use super::path::{self, Kind, Links};
use super::program::{self, Birth, Program};
use super::report::{At, Done, Failure, Step, fail};
use super::tmpfs::Tmpfs;

const QUIET: u64 = ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;
/// Lookups below our own mounts: nothing there may lead elsewhere.
const STRICT: u64 = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;

pub(super) enum Net {
    /// Born in the right one: the host's, or a fresh one.
    Keep,
    /// A fresh one, whose loopback comes up.
    Loopback,
    Join(OwnedFd),
}

/// A device node in /dev.
pub(super) struct Node {
    /// Relative to /dev.
    pub(super) name: CString,
    /// Folders of the name, outermost first.
    pub(super) folders: Vec<CString>,
    /// With the file type.
    pub(super) mode: u32,
    pub(super) device: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

pub(super) enum Source {
    /// A detached tree.
    Tree(OwnedFd),
    Tmpfs(Tmpfs),
    File(File),
}

pub(super) struct Volume {
    pub(super) target: CString,
    pub(super) kind: Kind,
    pub(super) source: Source,
    /// The volume this one lies in, which others may be changing right now, and the rest of the
    /// path from there.
    pub(super) within: Option<(usize, CString)>,
    /// The host's own /sys, which may cover the container's.
    pub(super) is_sys: bool,
}

/// Everything the first process needs.
pub(super) struct Container {
    pub(super) program: Program,
    pub(super) group: Group,
    pub(super) v2_only: bool,
    pub(super) root: OwnedFd,
    pub(super) readonly_root: bool,
    /// A folder of the host to attach the root to.
    pub(super) staging: CString,
    pub(super) net: Net,
    /// A process whose ipc namespace is joined.
    pub(super) ipc: Option<OwnedFd>,
    /// A process whose process id namespace the program is born into.
    pub(super) pid: Option<OwnedFd>,
    /// /proc and /dev/shm of the container whose namespaces are shared.
    pub(super) shared_proc: Option<OwnedFd>,
    pub(super) shared_shm: Option<OwnedFd>,
    pub(super) shm_bytes: CString,
    pub(super) nodes: Vec<Node>,
    /// Nodes outside /dev.
    pub(super) elsewhere: Vec<Elsewhere>,
    pub(super) links: Vec<(CString, CString)>,
    pub(super) volumes: Vec<Volume>,
    /// Where volumes that are files lie.
    pub(super) files: Option<Memory>,
    /// Path below /proc and value.
    pub(super) sysctls: Vec<(CString, CString)>,
    pub(super) masked: Vec<CString>,
    pub(super) readonly: Vec<CString>,
    pub(super) hostname: CString,
    /// ATTR_RDONLY, or 0 for a privileged container.
    pub(super) system_attributes: u64,
}

impl Container {
    pub(super) fn birth(&self) -> Birth {
        if self.pid.is_some() {
            Birth::Late
        } else {
            Birth::Here
        }
    }
}

/// Never returns: execve, or a report and the end.
pub(super) fn run(container: &Container, report: RawFd) -> Infallible {
    // The report moves before privileges go; a failure after that finds it at its new place, and
    // the old number is closed.
    let place = std::cell::Cell::new(report);
    let failure = match prepare(container, report) {
        Err(failure) => failure,
        Ok(root) => {
            let Err(failure) = program::run(&container.program, root, report, container.birth());
            if kernel::file_type(report).is_err() {
                place.set(program::REPORT_FD);
            }
            failure
        }
    };
    fail(place.get(), failure)
}

/// Answers the container's root.
fn prepare(container: &Container, report: RawFd) -> Done<RawFd> {
    program::begin(&container.program, &container.group.procs)?;
    namespaces(container)?;
    let (root, files) = attach_root(container)?;
    let proc_mount = mount_proc(container, root)?;
    let dev = mount_dev(container, root)?;
    // Held before any volume is there: whatever a volume puts over it, masks come from this node.
    let null = kernel::openat2(dev.mount, c"null", libc::O_PATH, 0, STRICT).at(Step::Dev)?;
    let sys = mount_sys(container, root)?;
    mount_volumes(container, root, files)?;
    for (index, elsewhere) in container.elsewhere.iter().enumerate() {
        device::place(elsewhere, dev.mount, root).at_index(Step::Device, index)?;
    }
    for (index, (name, value)) in container.sysctls.iter().enumerate() {
        write_sysctl(proc_mount, name, value).at_index(Step::Sysctl, index)?;
    }
    mask(container, proc_mount, sys, null)?;
    if !container.hostname.is_empty() {
        kernel::sethostname(&container.hostname).at(Step::Hostname)?;
    }
    pivot(root).at(Step::RootFs)?;
    if container.program.stdio.is_none() {
        program::open_terminal(dev.devpts, report, container.birth())?;
        bind_console(&dev).at(Step::Tty)?;
    }
    if container.readonly_root {
        // Afterwards it could not be made any more.
        let cwd = &container.program.cwd;
        let folder = path::open_or_make(root, cwd, Kind::Folder, Links::Follow).at(Step::Cwd)?;
        kernel::close(folder);
        kernel::mount_setattr(root, ATTR_RDONLY, 0, false).at(Step::RootFs)?;
    }
    if let Some(pid) = &container.pid {
        // For children only: this process, still strong, stays outside and unseen.
        kernel::setns(pid.as_raw_fd(), libc::CLONE_NEWPID).at_index(Step::Namespaces, 3)?;
    }
    Ok(root)
}

fn namespaces(container: &Container) -> Done<()> {
    // Not by clone: the namespace's root would be the group this process was cloned in.
    kernel::unshare(libc::CLONE_NEWCGROUP).at_index(Step::Namespaces, 0)?;
    match &container.net {
        Net::Keep => {}
        Net::Loopback => kernel::loopback_up().at_index(Step::Namespaces, 1)?,
        Net::Join(fd) => {
            kernel::setns(fd.as_raw_fd(), libc::CLONE_NEWNET).at_index(Step::Namespaces, 1)?;
        }
    }
    if let Some(ipc) = &container.ipc {
        kernel::setns(ipc.as_raw_fd(), libc::CLONE_NEWIPC).at_index(Step::Namespaces, 2)?;
    }
    Ok(())
}

/// Answers the root and the memory of the container's files, which lies below it.
fn attach_root(container: &Container) -> Done<(RawFd, Option<RawFd>)> {
    let private = libc::MS_REC | libc::MS_PRIVATE;
    kernel::mount(EMPTY, c"/", EMPTY, private, EMPTY).at(Step::RootFs)?;
    // Opened here: a descriptor from before the clone would name a mount of the old namespace.
    let staging =
        kernel::open(&container.staging, libc::O_PATH | libc::O_DIRECTORY).at(Step::RootFs)?;
    let files = match &container.files {
        Some(memory) => Some(memory.make(&container.volumes, staging)?),
        None => None,
    };
    let root = container.root.as_raw_fd();
    kernel::attach(root, staging).at(Step::RootFs)?;
    Ok((root, files))
}

fn mount_proc(container: &Container, root: RawFd) -> Done<RawFd> {
    let target = path::open_or_make(root, c"/proc", Kind::Folder, Links::Refuse).at(Step::Proc)?;
    let mount = match &container.shared_proc {
        Some(shared) => shared.as_raw_fd(),
        None => kernel::new_mount(c"proc", &[], QUIET).at(Step::Proc)?,
    };
    kernel::attach(mount, target).at(Step::Proc)?;
    Ok(mount)
}

struct Dev {
    mount: RawFd,
    devpts: RawFd,
}

/// A fresh /dev, filled before it is attached.
fn mount_dev(container: &Container, root: RawFd) -> Done<Dev> {
    let step = Step::Dev;
    let target = path::open_or_make(root, c"/dev", Kind::Folder, Links::Refuse).at(step)?;
    let mount = kernel::new_mount(
        c"tmpfs",
        &[(c"mode", c"755"), (c"size", c"65536k")],
        ATTR_NOSUID | ATTR_STRICTATIME,
    )
    .at(step)?;
    for folder in [c"pts", c"shm", c"mqueue"] {
        kernel::mkdirat(mount, folder, 0o755).at(step)?;
    }
    for (index, node) in container.nodes.iter().enumerate() {
        make_node(mount, node).at_index(step, index)?;
    }
    for (name, to) in &container.links {
        kernel::symlinkat(to, mount, name).at(step)?;
    }
    kernel::attach(mount, target).at(step)?;
    let devpts = kernel::new_mount(
        c"devpts",
        &[
            (c"newinstance", EMPTY),
            (c"ptmxmode", c"0666"),
            (c"mode", c"0620"),
            (c"gid", c"5"),
        ],
        ATTR_NOSUID | ATTR_NOEXEC,
    )
    .at(step)?;
    put(mount, c"pts", devpts).at(step)?;
    let shm = match &container.shared_shm {
        Some(shared) => shared.as_raw_fd(),
        None => kernel::new_mount(
            c"tmpfs",
            &[(c"mode", c"1777"), (c"size", &container.shm_bytes)],
            QUIET,
        )
        .at(step)?,
    };
    put(mount, c"shm", shm).at(step)?;
    let mqueue = kernel::new_mount(c"mqueue", &[], QUIET).at(step)?;
    put(mount, c"mqueue", mqueue).at(step)?;
    Ok(Dev { mount, devpts })
}

pub(super) fn make_node(dev: RawFd, node: &Node) -> Sys<()> {
    for folder in &node.folders {
        match kernel::mkdirat(dev, folder, 0o755) {
            Err(libc::EEXIST) => {}
            made => made?,
        }
    }
    kernel::mknodat(dev, &node.name, node.mode, node.device)?;
    if (node.uid, node.gid) != (0, 0) {
        kernel::fchownat(dev, &node.name, node.uid, node.gid)?;
    }
    Ok(())
}

/// Attaches a mount to a place in one of our own mounts.
fn put(parent: RawFd, name: &CStr, mount: RawFd) -> Sys<()> {
    let target = kernel::openat2(parent, name, libc::O_PATH, 0, STRICT)?;
    let done = kernel::attach(mount, target);
    kernel::close(target);
    done
}

fn mount_sys(container: &Container, root: RawFd) -> Done<RawFd> {
    let step = Step::Sys;
    let attributes = QUIET | container.system_attributes;
    let target = path::open_or_make(root, c"/sys", Kind::Folder, Links::Refuse).at(step)?;
    let sys = kernel::new_mount(c"sysfs", &[], attributes).at(step)?;
    kernel::attach(sys, target).at(step)?;
    if container.v2_only {
        let cgroup = kernel::new_mount(c"cgroup2", &[], attributes).at(step)?;
        put(sys, c"fs/cgroup", cgroup).at(step)?;
        return Ok(sys);
    }
    let folder = kernel::new_mount(c"tmpfs", &[(c"mode", c"755")], QUIET).at(step)?;
    for (name, _) in &container.group.views {
        kernel::mkdirat(folder, name, 0o755).at(step)?;
    }
    put(sys, c"fs/cgroup", folder).at(step)?;
    for (index, (name, view)) in container.group.views.iter().enumerate() {
        let view = view.as_raw_fd();
        kernel::mount_setattr(view, attributes, libc::MS_PRIVATE, false).at(step)?;
        put(folder, name, view).at_index(step, index)?;
    }
    kernel::mount_setattr(folder, attributes, 0, false).at(step)?;
    Ok(sys)
}

fn mount_volumes(container: &Container, root: RawFd, files: Option<RawFd>) -> Done<()> {
    // The root of each volume's mount, for those that lie in it.
    let mut mounts = [-1; VOLUMES_MAX];
    for (index, volume) in container.volumes.iter().enumerate() {
        mounts[index] = mount_volume(volume, root, files, &mounts).at_index(Step::Mount, index)?;
    }
    // A volume shared with a running container can be changed under our hands: what was mounted in
    // it has to be found where it belongs.
    for (index, volume) in container.volumes.iter().enumerate() {
        if let Some((within, rest)) = &volume.within {
            check_place(mounts[*within], rest, volume.kind, mounts[index])
                .at_index(Step::Mount, index)?;
        }
    }
    Ok(())
}

/// Most mounts of a container.
pub(super) const VOLUMES_MAX: usize = 256;

fn mount_volume(
    volume: &Volume,
    root: RawFd,
    files: Option<RawFd>,
    mounts: &[RawFd; VOLUMES_MAX],
) -> Sys<RawFd> {
    let (from, path, links) = match &volume.within {
        None => (root, &volume.target, Links::Follow),
        Some((within, rest)) => (mounts[*within], rest, Links::Refuse),
    };
    let (target, was_there) = match path::open_existing(from, path, volume.kind, links) {
        Ok(target) => (target, true),
        Err(_) => (path::open_or_make(from, path, volume.kind, links)?, false),
    };
    if kernel::is_system(target)? && !volume.is_sys {
        return Err(libc::EPERM);
    }
    if volume.kind == Kind::File && kernel::file_type(target)? == libc::S_IFDIR {
        return Err(libc::EISDIR);
    }
    let mount = match &volume.source {
        Source::Tree(tree) => tree.as_raw_fd(),
        Source::File(file) => file.mount(files.ok_or(libc::ENOENT)?)?,
        Source::Tmpfs(tmpfs) => tmpfs.mount(was_there.then_some(target))?,
    };
    kernel::attach(mount, target)?;
    if let Source::Tmpfs(tmpfs) = &volume.source {
        tmpfs.propagate(mount)?;
    }
    kernel::close(target);
    Ok(mount)
}

fn check_place(within: RawFd, rest: &CStr, kind: Kind, mount: RawFd) -> Sys<()> {
    let found = path::open_existing(within, rest, kind, Links::Refuse)?;
    let same = kernel::mount_id(found)? == kernel::mount_id(mount)?;
    kernel::close(found);
    if same { Ok(()) } else { Err(libc::EBUSY) }
}

fn write_sysctl(proc_mount: RawFd, name: &CStr, value: &CStr) -> Sys<()> {
    let flags = RESOLVE_BENEATH | kernel::RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    let file = kernel::openat2(proc_mount, name, libc::O_WRONLY, 0, flags)?;
    let written = kernel::write(file, value.to_bytes());
    kernel::close(file);
    written.map(drop)
}

/// Hides and write-protects kernel files. One that exists and cannot be covered stops the start.
fn mask(container: &Container, proc_mount: RawFd, sys: RawFd, null: RawFd) -> Done<()> {
    let mut empty = None;
    for (index, path) in container.masked.iter().enumerate() {
        mask_one(path, proc_mount, sys, null, &mut empty).at_index(Step::Mask, index)?;
    }
    for (index, path) in container.readonly.iter().enumerate() {
        let index = container.masked.len() + index;
        protect_one(path, proc_mount, sys).at_index(Step::Mask, index)?;
    }
    Ok(())
}

/// The place of a path of /proc or /sys in our own mounts; `None` when this kernel has no such file.
fn system_place(path: &CStr, proc_mount: RawFd, sys: RawFd) -> Sys<Option<RawFd>> {
    let bytes = path.to_bytes_with_nul();
    let (mount, rest) = if let Some(rest) = bytes.strip_prefix(b"/proc/") {
        (proc_mount, rest)
    } else if let Some(rest) = bytes.strip_prefix(b"/sys/") {
        (sys, rest)
    } else {
        return Err(libc::EINVAL);
    };
    let rest = CStr::from_bytes_with_nul(rest).map_err(|_| libc::EINVAL)?;
    match kernel::openat2(mount, rest, libc::O_PATH, 0, STRICT) {
        Err(libc::ENOENT) => Ok(None),
        place => place.map(Some),
    }
}

fn mask_one(
    path: &CStr,
    proc_mount: RawFd,
    sys: RawFd,
    null: RawFd,
    empty: &mut Option<RawFd>,
) -> Sys<()> {
    let Some(place) = system_place(path, proc_mount, sys)? else {
        return Ok(());
    };
    let cover = if kernel::file_type(place)? != libc::S_IFDIR {
        kernel::open_tree(null, EMPTY, false)?
    } else if let Some(empty) = *empty {
        kernel::open_tree(empty, EMPTY, false)?
    } else {
        // The first is attached itself: before 6.15 a detached mount cannot be copied.
        let options = [(c"size", c"0k"), (c"nr_inodes", c"1")];
        *empty.insert(kernel::new_mount(c"tmpfs", &options, QUIET | ATTR_RDONLY)?)
    };
    kernel::attach(cover, place)?;
    kernel::close(place);
    if Some(cover) != *empty {
        kernel::close(cover);
    }
    Ok(())
}

fn protect_one(path: &CStr, proc_mount: RawFd, sys: RawFd) -> Sys<()> {
    let Some(place) = system_place(path, proc_mount, sys)? else {
        return Ok(());
    };
    let copy = kernel::open_tree(place, EMPTY, true)?;
    kernel::mount_setattr(copy, ATTR_RDONLY, 0, true)?;
    kernel::attach(copy, place)?;
    kernel::close(copy);
    kernel::close(place);
    Ok(())
}

fn pivot(root: RawFd) -> Sys<()> {
    kernel::fchdir(root)?;
    kernel::pivot_here()?;
    kernel::detach(c".")?;
    kernel::fchdir(root)
}

/// The terminal on /dev/console too, by descriptor.
fn bind_console(dev: &Dev) -> Sys<()> {
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
    let file = kernel::openat2(dev.mount, c"console", flags, 0o620, RESOLVE_BENEATH)?;
    kernel::close(file);
    let terminal = kernel::open_tree(dev.devpts, c"0", false)?;
    let done = put(dev.mount, c"console", terminal);
    kernel::close(terminal);
    done
}

/// A process that joins a running container and becomes an exec's parent in all but name.
pub(super) struct Join {
    pub(super) program: Program,
    pub(super) group: Group,
    /// The container's first process.
    pub(super) target: OwnedFd,
}

/// Never returns: execve in the process born late, or a report and the end.
pub(super) fn run_join(join: &Join, report: RawFd) -> Infallible {
    let failure = match enter(join, report) {
        Err(failure) => failure,
        Ok(root) => {
            let Err(failure) = program::run(&join.program, root, report, Birth::Late);
            failure
        }
    };
    let place = if kernel::file_type(report).is_err() {
        program::REPORT_FD
    } else {
        report
    };
    fail(place, failure)
}

fn enter(join: &Join, report: RawFd) -> Done<RawFd> {
    program::begin(&join.program, &join.group.procs)?;
    let all = libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWPID;
    kernel::setns(join.target.as_raw_fd(), all).at(Step::Namespaces)?;
    let root = kernel::open(c"/", libc::O_PATH | libc::O_DIRECTORY).at(Step::RootFs)?;
    if join.program.stdio.is_none() {
        let links = Links::Refuse;
        let devpts = path::open_existing(root, c"/dev/pts", Kind::Folder, links).at(Step::Tty)?;
        if kernel::fs_magic(devpts).at(Step::Tty)? != kernel::DEVPTS_MAGIC {
            return Err(Failure {
                step: Step::Tty,
                index: 0,
                errno: libc::EXDEV,
            });
        }
        program::open_terminal(devpts, report, Birth::Late)?;
    }
    Ok(root)
}
