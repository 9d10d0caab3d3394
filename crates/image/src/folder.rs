//! A folder's content as a tar stream: what an image is made of by `import-rootfs`.
//!
//! It is walked as it lies there: links are not followed, mounts below it are left out (`/proc` of a
//! chroot has no end), and a file that grows while it is read is cut at the size that it had.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header, HeaderMode};

use crate::error::{Error, Result};
use crate::watch;

/// Refuses what is no folder, and one that the store lies in or that lies in the store: the image
/// would be made of what is being made.
pub(crate) fn check(folder: &Path, store: &Path) -> Result<()> {
    let shown = folder.display();
    let found = folder
        .canonicalize()
        .map_err(|e| Error::read(shown.to_string(), e))?;
    if !found.is_dir() {
        return Err(Error::Folder(format!("{shown} is no folder")));
    }
    if store.starts_with(&found) || found.starts_with(store) {
        return Err(Error::Folder(format!(
            "{shown} cannot become an image together with the image store in it, {}: choose a folder \
             apart from the data folder",
            store.display()
        )));
    }
    Ok(())
}

/// Writes all of a folder, the folder itself first, each folder's entries by name.
pub(crate) fn append(tar: &mut Builder<impl Write>, folder: &Path) -> io::Result<()> {
    let root = fs::metadata(folder)?;
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        watch::go_on().map_err(io::Error::other)?;
        let source = folder.join(&path);
        let meta = match path.as_os_str().is_empty() {
            true => root.clone(),
            false => match fs::symlink_metadata(&source) {
                // Removed since it was listed.
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                meta => meta?,
            },
        };
        let name = Path::new(".").join(&path);
        let is_mount = meta.is_dir() && meta.dev() != root.dev();
        append_entry(tar, &name, &source, &meta).map_err(|err| named(&source, err))?;
        if meta.is_dir() && !is_mount {
            let mut names = Vec::<OsString>::new();
            for entry in fs::read_dir(&source)? {
                names.push(entry?.file_name());
            }
            // The last is taken first.
            names.sort_unstable_by(|a, b| b.cmp(a));
            left.extend(names.iter().map(|name| path.join(name)));
        }
    }
    Ok(())
}

/// Puts a file's name before an error, unless the error already is one for the user.
fn named(path: &Path, error: io::Error) -> io::Error {
    match error.get_ref() {
        Some(inner) if inner.is::<Error>() => error,
        _ => io::Error::new(error.kind(), format!("{}: {error}", path.display())),
    }
}

fn append_entry(
    tar: &mut Builder<impl Write>,
    name: &Path,
    source: &Path,
    meta: &Metadata,
) -> io::Result<()> {
    let kind = meta.file_type();
    // A socket can be no part of an image.
    if kind.is_socket() {
        return Ok(());
    }
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(meta, HeaderMode::Complete);
    if kind.is_symlink() {
        return tar.append_link(&mut header, name, fs::read_link(source)?);
    }
    if kind.is_file() {
        // One that was exchanged for a pipe meanwhile must not be waited for.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = File::options()
            .read(true)
            .custom_flags(flags)
            .open(source)?;
        let content = Exactly {
            file,
            left: meta.len(),
        };
        return tar.append_data(&mut header, name, content);
    }
    header.set_size(0);
    if kind.is_char_device() || kind.is_block_device() {
        let device = meta.rdev();
        header.set_device_major(rustix::fs::major(device))?;
        header.set_device_minor(rustix::fs::minor(device))?;
    } else if meta.is_dir() {
        header.set_entry_type(EntryType::Directory);
    }
    tar.append_data(&mut header, name, io::empty())
}

/// As many bytes as the header says: a file that grows has no end, and the place of one that shrank
/// is filled with zeros.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        watch::go_on().map_err(io::Error::other)?;
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let mut count = self.file.read(&mut buffer[..want])?;
        if count == 0 {
            buffer[..want].fill(0);
            count = want;
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(folder: &Path) -> Vec<String> {
        let mut tar = Builder::new(Vec::new());
        append(&mut tar, folder).unwrap();
        let bytes = tar.into_inner().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(Result::unwrap);
        entries
            .map(|entry| format!("{} {}", entry.path().unwrap().display(), entry.size()))
            .collect()
    }

    #[test]
    fn a_folder_is_written_as_it_lies_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/hosts"), "one\n").unwrap();
        symlink("/etc", root.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let deep: PathBuf = std::iter::repeat_n("a-name-of-thirty-two-characters-", 9).collect();
        fs::create_dir_all(root.join(&deep)).unwrap();
        let names = names(root);
        for name in ["etc 0", "etc/hosts 4", "link 0"] {
            let found = names.iter().any(|it| it.trim_start_matches("./") == name);
            assert!(found, "{name} in {names:?}");
        }
        assert!(
            !names.iter().any(|name| name.contains("socket")),
            "{names:?}"
        );
        assert!(
            names
                .iter()
                .any(|name| name.contains(deep.to_str().unwrap()))
        );
    }

    #[test]
    fn a_file_that_grows_or_shrinks_has_the_size_it_had() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "12345").unwrap();
        let read = |left| {
            let file = File::open(file.path()).unwrap();
            let mut text = Vec::new();
            Exactly { file, left }.read_to_end(&mut text).unwrap();
            text
        };
        assert_eq!(read(3), b"123");
        assert_eq!(read(7), b"12345\0\0");
    }

    #[test]
    fn a_folder_with_the_store_in_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let store = root.join("data/images");
        fs::create_dir_all(store.join("tmp")).unwrap();
        fs::create_dir_all(root.join("rootfs")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        for refused in [
            &root,
            &root.join("data"),
            &store,
            &store.join("tmp"),
            &root.join("file"),
        ] {
            assert!(check(refused, &store).is_err(), "{}", refused.display());
        }
        assert!(check(&root.join("rootfs"), &store).is_ok());
        assert!(check(&root.join("none"), &store).is_err());
    }

    #[test]
    fn a_walk_ends_with_who_asked_for_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        let mut tar = Builder::new(Vec::new());
        let ended = watch::watched(|| Some("gone".into()), || append(&mut tar, dir.path()));
        assert!(ended.unwrap_err().to_string().contains("gone"));
    }
}
