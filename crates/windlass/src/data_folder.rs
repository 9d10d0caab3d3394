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
/// What else a data folder holds, from the start on: a restored one has no identity yet, a file
/// system of its own has its own folder, and a write may have been cut short.
const KNOWN: [&str; 10] = [
    "credentials.json",
    "endpoint",
    "installation.json",
    "keys.json",
    "lost+found",
    "page.key",
    "registries.json",
    "up.log",
    "up.log.1",
    ".writable",
];

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
    if let Some(other) = foreign(data)? {
        bail!(
            "{shown} is no data folder of Windlass and holds other things, {other} for example: \
             choose an empty or a new folder with --data"
        );
    }
    fs::set_permissions(data, Permissions::from_mode(MODE))
        .with_context(|| format!("making {shown} private"))?;
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

/// Something in the folder that is not ours, unless an identity says that the folder is. In a folder
/// of other things ours would be lost, and theirs exposed to what clears ours.
fn foreign(data: &Path) -> Result<Option<String>> {
    if data.join("installation.json").exists() {
        return Ok(None);
    }
    let ours = |name: &str| {
        let name = name.strip_suffix(".new").unwrap_or(name);
        PRIVATE.contains(&name) || KNOWN.contains(&name) || name.starts_with(".store.restoring-")
    };
    for entry in fs::read_dir(data).with_context(|| format!("reading {}", data.display()))? {
        let name = entry
            .with_context(|| format!("reading {}", data.display()))?
            .file_name();
        let name = name.to_string_lossy();
        if !ours(&name) {
            return Ok(Some(name.into_owned()));
        }
    }
    Ok(None)
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
    fn a_folder_of_other_things_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("etc");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("passwd"), "").unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
        let refused = prepare(&data).unwrap_err().to_string();
        assert!(refused.contains("passwd"), "{refused}");
        assert_eq!(mode(&data), 0o755);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
        // Its own folder, whatever its owner keeps beside.
        fs::write(data.join("installation.json"), "{}").unwrap();
        prepare(&data).unwrap();
    }

    #[test]
    fn a_disk_of_its_own_and_a_start_that_was_cut_short_are_fine() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("disk");
        fs::create_dir_all(data.join("lost+found")).unwrap();
        fs::create_dir(data.join("store")).unwrap();
        for name in [
            "installation.json.new",
            "keys.json",
            "keys.json.new",
            "registries.json",
        ] {
            fs::write(data.join(name), "").unwrap();
        }
        prepare(&data).unwrap();
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
