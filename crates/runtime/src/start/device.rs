//! The nodes of a container's /dev and of other places, and the access rules that come with extra
//! ones.
//!
//! A node outside /dev is a mount of one that is made in the container's /dev and taken away there:
//! no file system of the image or a volume ever holds a device.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::cgroup::{NodeKind, Rule};
use super::container::{Node, make_node};
use super::kernel::{self, Sys};
use super::path::{self, Kind, Links};
use super::{StartError, cstring, failed, volume};
use crate::spec::{ContainerSpec, Device};

/// Most nodes of one container.
const NODES_MAX: usize = 4096;
/// Deepest folder below /dev that is walked.
const DEPTH_MAX: usize = 8;

/// Nodes every container has: name and number.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Names in /dev that the runtime makes itself.
const OWN: [&str; 9] = [
    "pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "ptmx", "console",
];

#[derive(Default)]
pub(super) struct Devices {
    pub(super) nodes: Vec<Node>,
    pub(super) rules: Vec<Rule>,
    pub(super) elsewhere: Vec<Elsewhere>,
}

/// A node outside /dev.
pub(super) struct Elsewhere {
    pub(super) path: CString,
    /// As it is made in /dev.
    node: Node,
}

/// Where a node for another place is made, for a moment.
const HATCHERY: &CStr = c".device";

/// The default nodes, those of the spec and, for a privileged container, all of the host's.
pub(super) fn prepare(spec: &ContainerSpec) -> Result<Devices, StartError> {
    let mut devices = Devices::default();
    for (name, major, minor) in DEFAULT {
        devices.nodes.push(Node {
            name: cstring("dev", name)?,
            folders: Vec::new(),
            mode: libc::S_IFCHR | 0o666,
            device: libc::makedev(major, minor),
            uid: 0,
            gid: 0,
        });
    }
    if spec.privileged {
        let all = Device {
            host_path: "/dev".into(),
            container_path: "/dev".into(),
            read: true,
            write: true,
            mknod: true,
        };
        walk(Path::new("/dev"), "", &all, 0, &mut devices)?;
    }
    for device in &spec.devices {
        add(device, &mut devices)?;
    }
    Ok(devices)
}

/// Links every container has, name and target.
pub(super) fn links() -> Vec<(CString, CString)> {
    let mut links = vec![
        (c"fd".to_owned(), c"/proc/self/fd".to_owned()),
        (c"stdin".to_owned(), c"/proc/self/fd/0".to_owned()),
        (c"stdout".to_owned(), c"/proc/self/fd/1".to_owned()),
        (c"stderr".to_owned(), c"/proc/self/fd/2".to_owned()),
        (c"ptmx".to_owned(), c"pts/ptmx".to_owned()),
    ];
    if Path::new("/proc/kcore").exists() {
        links.push((c"core".to_owned(), c"/proc/kcore".to_owned()));
    }
    links
}

fn add(device: &Device, devices: &mut Devices) -> Result<(), StartError> {
    let host = Path::new(&device.host_path);
    let metadata = std::fs::metadata(host).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        failed("dev", errno, &device.host_path)
    })?;
    let refused = |why: &str| {
        failed(
            "dev",
            libc::EINVAL,
            format!("{} as {}: {why}", device.host_path, device.container_path),
        )
    };
    // Source: runc, which takes a relative path from the root.
    let path = volume::clean(&format!("/{}", device.container_path))?;
    if path == "/dev" && metadata.is_dir() {
        return Err(refused("a container has a /dev of its own"));
    }
    let name = path.strip_prefix("/dev/").unwrap_or(&path);
    if metadata.is_dir() {
        return walk(host, name, device, 0, devices);
    }
    if !push(&metadata, name, device, devices)? {
        return Err(refused("not a device"));
    }
    Ok(())
}

/// Every node below a host folder.
fn walk(
    folder: &Path,
    name: &str,
    device: &Device,
    depth: usize,
    devices: &mut Devices,
) -> Result<(), StartError> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        failed("dev", errno, folder.display().to_string())
    })?;
    for entry in entries.flatten() {
        let Ok(file) = entry.file_name().into_string() else {
            continue;
        };
        let top = name.is_empty();
        if top && OWN.contains(&file.as_str()) {
            continue;
        }
        let below = if top { file } else { format!("{name}/{file}") };
        // Not followed: a link's target is met where it lies.
        let Ok(metadata) = std::fs::symlink_metadata(entry.path()) else {
            continue;
        };
        if metadata.is_dir() && depth < DEPTH_MAX {
            walk(&entry.path(), &below, device, depth + 1, devices)?;
        } else {
            push(&metadata, &below, device, devices)?;
        }
    }
    Ok(())
}

/// Mounts a node at its place, which is made when it is missing; in the container's process. `dev` is
/// the container's own /dev, attached.
pub(super) fn place(elsewhere: &Elsewhere, dev: RawFd, root: RawFd) -> Sys<()> {
    let target = path::open_or_make(root, &elsewhere.path, Kind::File, Links::Follow)?;
    if kernel::is_system(target)? {
        return Err(libc::EPERM);
    }
    if kernel::file_type(target)? == libc::S_IFDIR {
        return Err(libc::EISDIR);
    }
    make_node(dev, &elsewhere.node)?;
    let mount = kernel::open_tree(dev, HATCHERY, false)?;
    kernel::attach(mount, target)?;
    kernel::unlinkat(dev, HATCHERY)?;
    kernel::close(mount);
    kernel::close(target);
    Ok(())
}

/// Answers whether it is a device at all. A name is a path in /dev, or one from the root when it
/// begins with a slash.
fn push(
    metadata: &std::fs::Metadata,
    name: &str,
    device: &Device,
    devices: &mut Devices,
) -> Result<bool, StartError> {
    let (kind, bits) = if metadata.file_type().is_char_device() {
        (NodeKind::Char, libc::S_IFCHR)
    } else if metadata.file_type().is_block_device() {
        (NodeKind::Block, libc::S_IFBLK)
    } else {
        return Ok(false);
    };
    let number = metadata.rdev();
    let c_name = cstring("dev", name)?;
    devices.rules.push(Rule {
        kind,
        major: Some(libc::major(number)),
        minor: Some(libc::minor(number)),
        read: device.read,
        write: device.write,
        mknod: device.mknod,
    });
    let known = devices.nodes.iter().any(|node| node.name == c_name)
        || devices.elsewhere.iter().any(|known| known.path == c_name);
    if known {
        return Ok(true);
    }
    if devices.nodes.len() + devices.elsewhere.len() >= NODES_MAX {
        return Err(failed(
            "dev",
            libc::E2BIG,
            format!("more than {NODES_MAX} devices"),
        ));
    }
    let mut node = Node {
        name: c_name,
        folders: Vec::new(),
        mode: bits | (metadata.mode() & 0o777),
        device: number,
        uid: metadata.uid(),
        gid: metadata.gid(),
    };
    if name.starts_with('/') {
        let path = std::mem::replace(&mut node.name, HATCHERY.to_owned());
        devices.elsewhere.push(Elsewhere { path, node });
        return Ok(true);
    }
    node.folders = name
        .match_indices('/')
        .map(|(end, _)| cstring("dev", &name[..end]))
        .collect::<Result<_, _>>()?;
    devices.nodes.push(node);
    Ok(true)
}
