//! Volumes: checks of targets, and the sources as detached mounts.
//!
//! The source of a bind is a resolved path: a link in it is refused. A bind takes its submounts
//! along, and read-only means all of them. Binds of a container that is not privileged are `nodev`
//! and `nosuid`: a volume passes between containers of different users and confinement, and one must
//! not hand the other a program that makes it root.

use std::ffi::CString;
use std::os::fd::AsRawFd;

use super::container::{Source, VOLUMES_MAX, Volume};
use super::file::File;
use super::kernel::{self, ATTR_NODEV, ATTR_NOSUID, ATTR_RDONLY, RESOLVE_NO_SYMLINKS};
use super::path::Kind;
use super::{OrFailed, StartError, cstring, failed, owned, tmpfs};
use crate::spec::{Mount, MountKind};

/// Folders the runtime makes itself. A volume may lie in /dev, but not be it; /sys may be the host's.
const OWN: [&str; 3] = ["/dev", "/proc", SYS];
const SYS: &str = "/sys";
/// Inode of a sysfs's root.
const SYSFS_ROOT: u64 = 1;

/// Opens every source; shallow targets come first, so that deeper ones land on them.
pub(super) fn prepare(mounts: &[Mount], privileged: bool) -> Result<Vec<Volume>, StartError> {
    if mounts.len() > VOLUMES_MAX {
        let count = mounts.len();
        return Err(failed(
            "mount",
            libc::E2BIG,
            format!("{count} mounts, {VOLUMES_MAX} are possible"),
        ));
    }
    let mut sorted = Vec::with_capacity(mounts.len());
    for mount in mounts {
        sorted.push((clean(&mount.target)?, mount));
    }
    sorted.sort_by_key(|(target, _)| target.matches('/').count());
    let mut volumes: Vec<Volume> = Vec::with_capacity(sorted.len());
    let mut targets: Vec<String> = Vec::new();
    for (target, mount) in sorted {
        if targets.contains(&target) {
            return Err(failed(
                "mount",
                libc::EINVAL,
                format!("Duplicate mount point: {target}"),
            ));
        }
        volumes.push(open(&target, mount, &targets, privileged)?);
        targets.push(target);
    }
    Ok(volumes)
}

fn open(
    target: &str,
    mount: &Mount,
    earlier: &[String],
    privileged: bool,
) -> Result<Volume, StartError> {
    let (kind, source) = match &mount.kind {
        MountKind::Bind { source } => bind(source, mount.readonly, privileged)?,
        MountKind::Tmpfs {
            size_bytes,
            options,
        } => (Kind::Folder, tmpfs::prepare(*size_bytes, options, mount)?),
        MountKind::File { text } => {
            let file = File::new(earlier.len(), text, mount.readonly)?;
            (Kind::File, Source::File(file))
        }
    };
    let is_sys = target == SYS && is_sysfs(&source);
    if OWN.contains(&target) && !is_sys {
        return refused(target, libc::EPERM, "is the runtime's own");
    }
    Ok(Volume {
        target: cstring("mount", target)?,
        kind,
        source,
        within: within(target, earlier)?,
        is_sys,
    })
}

/// Whether it is the host's /sys, from its root: it shows what the container's own does, and more.
fn is_sysfs(source: &Source) -> bool {
    match source {
        Source::Tree(tree) => {
            let tree = tree.as_raw_fd();
            kernel::fs_magic(tree) == Ok(kernel::SYSFS_MAGIC)
                && kernel::fstat(tree).map(|stat| stat.st_ino) == Ok(SYSFS_ROOT)
        }
        _ => false,
    }
}

fn refused<T>(target: &str, errno: i32, why: &str) -> Result<T, StartError> {
    Err(failed(
        "mount",
        errno,
        format!("invalid mount path: '{target}' {why}"),
    ))
}

/// The deepest earlier target this one lies in, and the rest of the path.
fn within(target: &str, earlier: &[String]) -> Result<Option<(usize, CString)>, StartError> {
    earlier
        .iter()
        .enumerate()
        .rev()
        .filter_map(|(index, outer)| {
            let rest = target.strip_prefix(outer.as_str())?;
            rest.starts_with('/').then_some((index, rest, outer.len()))
        })
        .max_by_key(|(_, _, length)| *length)
        .map(|(index, rest, _)| Ok((index, cstring("mount", rest)?)))
        .transpose()
}

/// The target without doubled slashes, `.` and `..`: a text is made shorter, no link is looked at, and
/// above the root there is nothing. Source: Docker.
pub(super) fn clean(target: &str) -> Result<String, StartError> {
    if !target.starts_with('/') {
        return refused(target, libc::EINVAL, "mount path must be absolute");
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return refused(target, libc::EINVAL, "destination can't be '/'");
    }
    let path = format!("/{}", parts.join("/"));
    if path.starts_with("/proc/") || path.starts_with("/sys/") {
        return refused(target, libc::EPERM, "is the runtime's own");
    }
    Ok(path)
}

fn bind(source: &str, readonly: bool, privileged: bool) -> Result<(Kind, Source), StartError> {
    if !source.starts_with('/') {
        return Err(failed(
            "mount",
            libc::EINVAL,
            format!("source {source:?} is not absolute"),
        ));
    }
    // Who asks has resolved and judged the path. A link in it came since, perhaps from a container
    // that shares a folder on the way, and would lead past that judgement.
    let place = kernel::openat2(
        libc::AT_FDCWD,
        &cstring("mount", source)?,
        libc::O_PATH,
        0,
        RESOLVE_NO_SYMLINKS,
    )
    .map(owned)
    .or_failed("mount", || source.to_owned())?;
    let tree = kernel::open_tree(place.as_raw_fd(), c"", true)
        .map(owned)
        .or_failed("mount", || source.to_owned())?;
    let mut attributes = if privileged {
        0
    } else {
        ATTR_NODEV | ATTR_NOSUID
    };
    if readonly {
        attributes |= ATTR_RDONLY;
    }
    kernel::mount_setattr(tree.as_raw_fd(), attributes, libc::MS_PRIVATE, true)
        .or_failed("mount", || source.to_owned())?;
    let kind = match kernel::file_type(tree.as_raw_fd()) {
        Ok(libc::S_IFDIR) => Kind::Folder,
        _ => Kind::File,
    };
    Ok((kind, Source::Tree(tree)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_cleaned_or_refused() {
        for (target, want) in [
            ("/a//b/./c/", Ok("/a/b/c")),
            ("/dev/shm", Ok("/dev/shm")),
            ("/process", Ok("/process")),
            ("a", Err(libc::EINVAL)),
            ("", Err(libc::EINVAL)),
            ("/", Err(libc::EINVAL)),
            ("/.", Err(libc::EINVAL)),
            ("/a/../../b", Ok("/b")),
            ("/a/b/../c", Ok("/a/c")),
            ("/a/..", Err(libc::EINVAL)),
            ("/a/../proc/self", Err(libc::EPERM)),
            ("/proc/self", Err(libc::EPERM)),
            ("/sys/fs", Err(libc::EPERM)),
        ] {
            let got = clean(target).map_err(|e| e.errno);
            assert_eq!(got, want.map(String::from), "{target:?}");
        }
    }

    #[test]
    fn what_the_runtime_makes_is_not_covered() {
        for target in ["/dev", "//proc/", "/sys"] {
            let mount = Mount {
                target: target.into(),
                kind: MountKind::Bind {
                    source: "/tmp".into(),
                },
                readonly: false,
            };
            let refused = prepare(&[mount], false).map(drop).unwrap_err();
            assert_eq!(refused.errno, libc::EPERM, "{target}");
        }
    }

    #[test]
    fn a_nested_target_belongs_to_the_deepest_outer_one() {
        let earlier = ["/a".into(), "/ab".into(), "/a/b".into()];
        let find = |target| within(target, &earlier).unwrap();
        assert_eq!(find("/a/b/c"), Some((2, c"/c".to_owned())));
        assert_eq!(find("/a/c/d"), Some((0, c"/c/d".to_owned())));
        assert_eq!(find("/abc"), None);
    }
}
