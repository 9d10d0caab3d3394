//! The nodes of a container's /dev, and the access rules that come with extra ones.

use std::ffi::CString;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::cgroup::{NodeKind, Rule};
use super::container::Node;
use super::{StartError, cstring, failed};
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
}

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
    let name = device
        .container_path
        .strip_prefix("/dev/")
        .map(|name| name.trim_end_matches('/'))
        .filter(|name| {
            name.split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..")
        })
        .ok_or_else(|| refused("a device has to lie below /dev"))?;
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

/// Answers whether it is a device at all.
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
    if devices.nodes.iter().any(|node| node.name == c_name) {
        return Ok(true);
    }
    if devices.nodes.len() >= NODES_MAX {
        return Err(failed(
            "dev",
            libc::E2BIG,
            format!("more than {NODES_MAX} devices"),
        ));
    }
    let folders = name
        .match_indices('/')
        .map(|(end, _)| cstring("dev", &name[..end]))
        .collect::<Result<_, _>>()?;
    devices.nodes.push(Node {
        name: c_name,
        folders,
        mode: bits | (metadata.mode() & 0o777),
        device: number,
        uid: metadata.uid(),
        gid: metadata.gid(),
    });
    Ok(true)
}
