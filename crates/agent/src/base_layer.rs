//! The layer that every image lies on: what container engines add to an image.
//!
//! Lowest of all, so that whatever an image has of it, and the owner and mode of its /etc, is the
//! image's. Source: Docker.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

/// Makes what is missing of it in the data folder. Containers that run lie on it already, so that
/// nothing of it ever changes.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn prepare(data_dir: &Path) -> io::Result<PathBuf> {
    let layer = data_dir.join("base");
    let mut folders = DirBuilder::new();
    folders
        .recursive(true)
        .mode(0o755)
        .create(layer.join("etc"))?;
    // By this programs know that they run in a container.
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o755)
        .open(layer.join(".dockerenv"))?;
    // Older programs look here for what is mounted.
    let mtab = layer.join("etc/mtab");
    if fs::symlink_metadata(&mtab).is_err() {
        symlink("/proc/mounts", &mtab)?;
    }
    Ok(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_found_again() {
        let data = tempfile::tempdir().unwrap();
        let layer = prepare(data.path()).unwrap();
        fs::remove_file(layer.join("etc/mtab")).unwrap();
        assert_eq!(prepare(data.path()).unwrap(), layer);
        assert_eq!(prepare(data.path()).unwrap(), layer);
        let mtab = fs::read_link(layer.join("etc/mtab")).unwrap();
        assert_eq!(mtab, Path::new("/proc/mounts"));
        assert_eq!(fs::metadata(layer.join(".dockerenv")).unwrap().len(), 0);
    }
}
