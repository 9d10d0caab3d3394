//! A volume that is empty gets what the container's image has in its place, so that a program finds
//! its files there and one that is not root may write where its image lets it.
//! Source: Docker, local volumes on their first use.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use windlass_image::Content;

/// Fills the volume's folder from the image's layers, the topmost first, unless something is in it.
pub(super) fn fill(layers: &[PathBuf], volume: &Path, container_path: &str) -> io::Result<()> {
    let Some(name) = volume.file_name() else {
        return Ok(());
    };
    let _claim = Claim::of(volume);
    let mut mark = std::ffi::OsString::from(".filling-");
    mark.push(name);
    // No volume's name begins with a dot.
    let mark = volume.with_file_name(mark);
    // With the mark, an agent that died has left a part of the copy.
    let is_cut = mark.exists();
    if !is_cut && fs::read_dir(volume)?.next().is_some() {
        return Ok(());
    }
    let Some(content) = Content::find(layers, container_path)? else {
        return Ok(());
    };
    if content.is_empty()? {
        return content.copy_into(volume);
    }
    File::create(&mark)?;
    content.copy_into(volume)?;
    fs::remove_file(&mark)
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
            fs::create_dir_all(&volume).unwrap();
            fill(&layers, &volume, covers).unwrap();
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
        // A copy that was broken off goes on.
        fs::write(root.path().join("c/part"), "").unwrap();
        fs::write(root.path().join(".filling-c"), "").unwrap();
        let (_, names) = filled("c", "/var/data");
        assert_eq!(names, ["file", "part"]);
        assert!(!root.path().join(".filling-c").exists());
    }
}
