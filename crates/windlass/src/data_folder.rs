//! The data folder's owner and modes, repaired at every start.
//!
//! The folder itself may be passed through but not listed (0711), because the user behind sudo reads
//! the credentials in it, which are that user's alone. What tasks and the store keep lies in folders
//! for root alone: a local user who could reach a layer could run its set-user-id programs.

use anyhow::{Context, Result, bail};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// To pass through, not to list.
const MODE: u32 = 0o711;
/// Folders in it that nobody else may pass.
const PRIVATE: [&str; 6] = ["images", "logs", "store", "tasks", "uploads", "volumes"];
/// Whose entries have nothing to do with each other: a task's, a volume's.
const SPREAD: [&str; 3] = ["logs", "tasks", "volumes"];
/// Written by others than the owner.
const SHARED_BITS: u32 = 0o022;

/// Makes the folder or repairs it.
///
/// # Errors
/// It cannot be made or written, or another user could change what lies in it.
pub(crate) fn prepare(data: &Path) -> Result<()> {
    let shown = data.display();
    make(data).with_context(|| {
        format!("the data folder {shown} cannot be made; choose another with --data")
    })?;
    let found = fs::metadata(data).with_context(|| format!("reading {shown}"))?;
    if !found.is_dir() {
        bail!("{shown} is no folder; choose another with --data");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        bail!(
            "the data folder {shown} belongs to user {}, who could change what root does with it: \
             choose another with --data, or `chown root {shown}`",
            found.uid()
        );
    }
    // The mode of a folder that holds other things as well is not ours to change.
    if is_ours(data)? {
        fs::set_permissions(data, Permissions::from_mode(MODE))
            .with_context(|| format!("making {shown} private"))?;
    } else if found.mode() & SHARED_BITS != 0 {
        bail!(
            "others may write to the data folder {shown}, which holds other things too: choose an \
             empty folder with --data"
        );
    }
    for name in PRIVATE {
        make_private(&data.join(name))?;
    }
    for name in SPREAD {
        spread(&data.join(name));
    }
    try_write(data).with_context(|| format!("the data folder {shown} cannot be written"))
}

/// A folder for root alone, repaired when it is not.
pub(crate) fn make_private(dir: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o700)))
        .with_context(|| format!("making the folder {}", dir.display()))
}

/// Asks ext4 to put each entry into another part of the disk, as it does for homes of users. Files
/// that are made where many were just removed cost it twenty times as much, and tasks come and go:
/// measured without a journal, 0.45 ms against 0.02. Other file systems have no such flag.
fn spread(dir: &Path) {
    let set = fs::File::open(dir).and_then(|dir| {
        let flags = ioctl_getflags(&dir)?;
        Ok(ioctl_setflags(&dir, flags | IFlags::TOPDIR)?)
    });
    if let Err(err) = set {
        tracing::debug!(%err, dir = %dir.display(), "not spread over the disk");
    }
}

fn make(data: &Path) -> std::io::Result<()> {
    if data.is_dir() {
        return Ok(());
    }
    if let Some(above) = data.parent() {
        fs::create_dir_all(above)?;
    }
    DirBuilder::new().mode(MODE).create(data)
}

fn is_ours(data: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(data).with_context(|| format!("reading {}", data.display()))?;
    Ok(entries.next().is_none() || data.join("installation.json").exists())
}

fn try_write(data: &Path) -> std::io::Result<()> {
    let path = data.join(".writable");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)?;
    fs::remove_file(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_folder_is_passed_through_and_its_parts_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("above/data");
        prepare(&data).unwrap();
        assert_eq!((mode(&data), mode(data.parent().unwrap())), (0o711, 0o755));
        for name in PRIVATE {
            assert_eq!(mode(&data.join(name)), 0o700, "{name}");
        }
        // An older release, or a copy, may have left them open.
        fs::write(data.join("installation.json"), "{}").unwrap();
        for path in [data.clone(), data.join("images"), data.join("volumes")] {
            fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        }
        prepare(&data).unwrap();
        assert_eq!(mode(&data), 0o711);
        assert_eq!(
            (mode(&data.join("images")), mode(&data.join("volumes"))),
            (0o700, 0o700)
        );
    }

    #[test]
    fn a_folder_of_others_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("srv");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("other"), "").unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
        prepare(&data).unwrap();
        assert_eq!(mode(&data), 0o755);
        fs::set_permissions(&data, Permissions::from_mode(0o1777)).unwrap();
        let refused = prepare(&data).unwrap_err().to_string();
        assert!(refused.contains("others may write"), "{refused}");
    }

    #[test]
    fn a_link_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let canary = dir.path().join("canary");
        fs::write(&canary, "untouched").unwrap();
        let data = dir.path().join("data");
        prepare(&data).unwrap();
        std::os::unix::fs::symlink(&canary, data.join(".writable")).unwrap();
        assert!(prepare(&data).is_err());
        assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched");
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives folders away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::chown(&data, Some(12_345), None).unwrap();
        let refused = prepare(&data).unwrap_err().to_string();
        assert!(refused.contains("12345"), "{refused}");
    }
}
