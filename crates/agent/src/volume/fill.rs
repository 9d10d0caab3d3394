//! A volume that is empty gets what the container's image has in its place, so that a program finds
//! its files there and one that is not root may write where its image lets it.
//! Source: Docker, local volumes on their first use.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use windlass_image::Content;

/// Makes the volume's folder when it is missing, and fills it from the image's layers, the topmost
/// first, unless something is in it.
///
/// A mark stands from before the folder is made until the volume is given to its first container:
/// with it, whatever is in the folder is a part of a copy that was broken off, perhaps of another
/// image, and goes. A volume without it may be in use, even when it is empty, and nothing in it is
/// removed.
pub(super) fn make(layers: &[PathBuf], volume: &Path, container_path: &str) -> io::Result<()> {
    let _claim = Claim::of(volume);
    let mark = mark(volume);
    let was_cut = mark.try_exists()?;
    let is_new = was_cut || is_missing(volume)?;
    if is_new {
        if was_cut {
            windlass_tree::remove(volume)?;
        }
        make_marked(volume, &mark)?;
    } else if fs::read_dir(volume)?.next().is_some() {
        return Ok(());
    }
    if let Some(content) = Content::find(layers, container_path)? {
        content.copy_into(volume)?;
    }
    match is_new {
        true => fs::remove_file(&mark),
        false => Ok(()),
    }
}

/// In a folder of its own, since a volume's name may be as long as a file's. No volume's name begins
/// with a dot.
fn mark(volume: &Path) -> PathBuf {
    let name = volume.file_name().unwrap_or_default();
    volume.with_file_name(".filling").join(name)
}

fn is_missing(volume: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(volume) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        found => found.map(|_| false),
    }
}

fn make_marked(volume: &Path, mark: &Path) -> io::Result<()> {
    let mut folders = DirBuilder::new();
    folders.mode(0o755);
    if let Some(marks) = mark.parent() {
        folders.recursive(true).create(marks)?;
    }
    File::create(mark)?;
    let made = folders.recursive(false).create(volume);
    if made.is_err() {
        // What somebody else puts there later is no copy of an image.
        fs::remove_file(mark)?;
    }
    made
}

/// Containers that have a volume in common may start at once; one of them fills it, the others
/// wait. One agent works on a node, so that its own memory is enough to know who.
struct Claim(PathBuf);

static CLAIMED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static RELEASED: Condvar = Condvar::new();

impl Claim {
    fn of(volume: &Path) -> Claim {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        while !claimed.insert(volume.to_owned()) {
            claimed = RELEASED
                .wait(claimed)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Claim(volume.to_owned())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.remove(&self.0);
        RELEASED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn an_empty_volume_takes_what_it_covers() {
        let root = tempfile::tempdir().unwrap();
        let layer = root.path().join("layer");
        fs::create_dir_all(layer.join("var/data")).unwrap();
        fs::create_dir_all(layer.join("var/empty")).unwrap();
        fs::write(layer.join("var/data/file"), "x").unwrap();
        for name in ["data", "empty"] {
            let mode = fs::Permissions::from_mode(0o1770);
            fs::set_permissions(layer.join("var").join(name), mode).unwrap();
        }
        symlink("var/data", layer.join("link")).unwrap();
        symlink("../../../../..", layer.join("out")).unwrap();
        let layers = [layer];
        let filled = |name: &str, covers: &str| {
            let volume = root.path().join(name);
            make(&layers, &volume, covers).unwrap();
            let mode = fs::metadata(&volume).unwrap().mode() & 0o7777;
            let names = fs::read_dir(&volume).unwrap();
            let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
            names.sort();
            (mode, names)
        };
        let none: [&str; 0] = [];
        assert_eq!(filled("a", "/var/data"), (0o1770, vec!["file".into()]));
        fs::write(root.path().join("a/own"), "").unwrap();
        fs::remove_file(root.path().join("a/file")).unwrap();
        assert_eq!(filled("a", "/var/data"), (0o1770, vec!["own".into()]));
        assert_eq!(filled("b", "/link/"), (0o1770, vec!["file".into()]));
        for (name, covers, mode) in [
            ("c", "/var/empty", 0o1770),
            ("d", "/nowhere", 0o755),
            ("e", "/out/etc", 0o755),
            ("f", "/var/data/file", 0o755),
        ] {
            let (found, names) = filled(name, covers);
            assert_eq!(
                (found, &names[..]),
                (mode, &none.map(Into::into)[..]),
                "{covers}"
            );
        }
    }

    #[test]
    fn what_a_broken_copy_left_goes_and_what_containers_wrote_stays() {
        let root = tempfile::tempdir().unwrap();
        let layer = root.path().join("layer");
        fs::create_dir_all(layer.join("data/sub")).unwrap();
        fs::write(layer.join("data/file"), "image").unwrap();
        let layers = [layer];
        // As long as a name may be.
        let volume = root.path().join("volumes").join("v".repeat(255));
        let names = || {
            let names = fs::read_dir(&volume).unwrap();
            let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let mark = mark(&volume);
        let cut = || {
            fs::create_dir_all(volume.join("part/of")).unwrap();
            fs::write(&mark, "").unwrap();
        };
        make(&layers, &volume, "/data").unwrap();
        assert_eq!(names(), ["file", "sub"]);
        assert!(!mark.exists());
        cut();
        make(&layers, &volume, "/data").unwrap();
        assert_eq!(names(), ["file", "sub"]);
        // An image without content there is given an empty volume, and what it writes is its own.
        cut();
        make(&layers, &volume, "/nowhere").unwrap();
        assert!(names().is_empty() && !mark.exists());
        fs::write(volume.join("file"), "own").unwrap();
        make(&layers, &volume, "/data").unwrap();
        assert_eq!(names(), ["file"]);
        assert_eq!(fs::read(volume.join("file")).unwrap(), b"own");
        // A copy into a volume that was given before leaves no mark when it breaks.
        fs::remove_file(volume.join("file")).unwrap();
        let long = "l".repeat(5000);
        assert!(make(&[PathBuf::from(long)], &volume, "/data").is_err());
        assert!(!mark.exists());
    }
}
