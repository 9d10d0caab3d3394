//! The run folder, `/run/windlass-ID`: what a killed process leaves and a reboot takes.

use crate::data_folder::make_private;
use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Makes the folder, with a memory file system of its own mounted on it: whatever fills `/run` leaves
/// it room. One that holds something already stays as it is, because sandboxes of an earlier server may be
/// found by what lies in it.
///
/// Returns the folder's epoch: a number drawn when it was made, so that one that was emptied is told
/// from one that was not. 0 where an earlier release made it.
pub(crate) fn prepare(dir: &Path) -> Result<u128> {
    make_private(dir)?;
    let shown = dir.display();
    let is_empty = fs::read_dir(dir)
        .with_context(|| format!("reading {shown}"))?
        .next()
        .is_none();
    let path = dir.join("epoch");
    if !is_empty {
        let text = fs::read_to_string(&path).unwrap_or_default();
        return Ok(u128::from_str_radix(text.trim(), 16).unwrap_or(0));
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("windlass", dir, "tmpfs", flags, c"mode=0700")
        .with_context(|| format!("mounting a tmpfs on {shown}"))?;
    let epoch: u128 = rand::random();
    // Whole or not at all: half a number would be another one.
    let draft = dir.join("epoch.draft");
    fs::write(&draft, format!("{epoch:032x}\n"))
        .and_then(|()| fs::rename(&draft, &path))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(epoch)
}

/// Removes the folder with all that is in it.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    // Not a mount of ours, or none at all: then its files are removed.
    let _ = unmount(dir, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    match fs::remove_dir_all(dir) {
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_folder_gets_memory_of_its_own_unless_it_is_in_use() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root mounts");
            return;
        }
        let above = tempfile::tempdir().unwrap();
        let (new, used) = (above.path().join("new"), above.path().join("used"));
        fs::create_dir(&used).unwrap();
        fs::write(used.join("of an earlier server"), "").unwrap();
        let epoch = prepare(&new).unwrap();
        assert_eq!(prepare(&used).unwrap(), 0);
        let device = |dir: &Path| fs::metadata(dir).unwrap().dev();
        assert_ne!(device(&new), device(above.path()));
        assert_eq!(device(&used), device(above.path()));
        // Again, as after a kill: what lies there is still seen.
        fs::write(new.join("kept"), "").unwrap();
        assert_eq!(prepare(&new).unwrap(), epoch);
        assert!(new.join("kept").exists());
        remove(&new).unwrap();
        assert_ne!(prepare(&new).unwrap(), epoch);
        for dir in [new, used] {
            remove(&dir).unwrap();
            assert!(!dir.exists());
            remove(&dir).unwrap();
        }
    }
}
