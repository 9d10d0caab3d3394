//! Free room and the name of the disk that holds a folder.

use std::path::{Path, PathBuf};

use crate::Error;

/// The disk below a folder.
pub struct Disk {
    dir: PathBuf,
    name: String,
}

impl Disk {
    /// Finds the disk of a folder that exists.
    pub fn of(dir: &Path) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let path = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let name = mount_of(&mounts, &path).unwrap_or_else(|| format!("of {}", dir.display()));
        Self {
            dir: dir.to_owned(),
            name,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that this process may still write.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn free_bytes(&self) -> Result<u64, Error> {
        let stat = rustix::fs::statvfs(&self.dir)
            .map_err(|errno| Error::io("ask for the free space of", &self.dir)(errno.into()))?;
        // Root may use the blocks that ext4 reserves, but a full disk hurts everyone long before.
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Mount point and source of the mount that a path lies in: the longest mount point above it, and of
/// equal ones the last, which covers the others.
fn mount_of(mounts: &str, path: &Path) -> Option<String> {
    let mut best: Option<(PathBuf, &str)> = None;
    for line in mounts.lines() {
        let (Some(point), Some((_, tail))) = (line.split(' ').nth(4), line.split_once(" - "))
        else {
            continue;
        };
        // The kernel writes blanks in names as \040.
        let point = PathBuf::from(point.replace("\\040", " "));
        let source = tail.split(' ').nth(1).unwrap_or("unknown");
        let longest = best
            .as_ref()
            .is_none_or(|(best, _)| point.as_os_str().len() >= best.as_os_str().len());
        if path.starts_with(&point) && longest {
            best = Some((point, source));
        }
    }
    best.map(|(point, source)| format!("{} ({source})", point.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_names_the_disk() {
        let mounts = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      22 21 8:2 / /var/lib rw shared:1 - xfs /dev/sdb rw\n\
                      23 21 8:3 / /var/my\\040disk rw - ext4 /dev/sdc rw\nbroken line";
        for (path, expected) in [
            ("/etc", "/ (/dev/sda1)"),
            ("/var/lib/windlass", "/var/lib (/dev/sdb)"),
            ("/var/library", "/ (/dev/sda1)"),
            ("/var/my disk/x", "/var/my disk (/dev/sdc)"),
        ] {
            assert_eq!(mount_of(mounts, Path::new(path)).as_deref(), Some(expected));
        }
        assert_eq!(mount_of("", Path::new("/x")), None);
    }

    #[test]
    fn the_kernel_answers_for_a_real_folder() {
        assert!(
            Disk::of(Path::new("/"))
                .free_bytes()
                .is_ok_and(|free| free > 0)
        );
    }
}
