//! The store's files: small JSON records that are whole or absent, and blobs named by content.
//!
//! ```text
//! ROOT/format             what wrote this store
//! ROOT/lock               held while a process has the store open
//! ROOT/blobs/HEX          manifests, configurations, and layers of loaded images
//! ROOT/layers/N/          one unpacked layer, used as an overlayfs lower folder (short names)
//! ROOT/chains/HEX.json    marks layers/N as whole; HEX stands for the layer and all below it
//! ROOT/images/HEX.json    an image: manifest, configuration, chains
//! ROOT/names/HEX.json     a name and the image it means
//! ROOT/partial/HEX        downloads that were cut, to be continued
//! ROOT/tmp/N              nothing that outlives a process
//! ```
//!
//! A record is written to `tmp`, synchronised and renamed. What it speaks of is synchronised before,
//! so that a record is proof: whatever no record speaks of is left over from a crash and is removed
//! when the store is opened.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::{At, Error, Result};
use crate::roomy::Roomy;
use crate::watch;

const FORMAT: &str = "1";
const FOLDERS: [&str; 7] = [
    "blobs", "layers", "chains", "images", "names", "partial", "tmp",
];

#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    /// Of the root; also what the whole file system is synchronised by.
    folder: File,
    next: AtomicU64,
    _lock: File,
}

impl Files {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).at("create", root)?;
        let root = root.canonicalize().at("open", root)?;
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).at("create", &lock_path)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::StoreInUse(root.clone()))?;
        check_format(&root)?;
        for folder in FOLDERS {
            let path = root.join(folder);
            fs::create_dir_all(&path).at("create", path)?;
        }
        let folder = File::open(&root).at("open", &root)?;
        let files = Self {
            root,
            folder,
            next: AtomicU64::new(0),
            _lock: lock,
        };
        for name in files.names_in("tmp")? {
            told(files.remove_folder("tmp", &name));
        }
        Ok(files)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, folder: &str, name: &str) -> PathBuf {
        self.root.join(folder).join(name)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.path("blobs", &digest.hex())
    }

    pub(crate) fn layer(&self, number: u64) -> PathBuf {
        self.path("layers", &number.to_string())
    }

    /// Names in one of the store's folders. Those that are not UTF-8 are none of ours.
    pub(crate) fn names_in(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.root.join(folder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).at("list", &path)? {
            let entry = entry.at("list", &path)?;
            names.extend(entry.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn records<T: DeserializeOwned>(&self, folder: &str) -> Result<Vec<T>> {
        let mut records = Vec::new();
        for name in self.names_in(folder)? {
            let path = self.path(folder, &name);
            let json = fs::read(&path).at("read", &path)?;
            let record = serde_json::from_slice(&json).map_err(io::Error::from);
            records.push(record.at("understand", &path)?);
        }
        Ok(records)
    }

    /// Makes a record whole and lasting, in place of the one it had.
    pub(crate) fn write_record(
        &self,
        folder: &str,
        key: &Digest,
        record: &impl Serialize,
    ) -> Result<()> {
        let path = self.path(folder, &format!("{}.json", key.hex()));
        let json = serde_json::to_vec_pretty(record)
            .map_err(io::Error::from)
            .at("write", &path)?;
        let temporary = self.temporary()?;
        let mut file = temporary.file.try_clone().at("write", &path)?;
        file.write_all(&json)
            .and_then(|()| file.sync_all())
            .at("write", &path)?;
        temporary.keep_as(&path)?;
        self.sync_folder(folder)
    }

    pub(crate) fn remove_record(&self, folder: &str, key: &Digest) -> Result<()> {
        self.remove_file(folder, &format!("{}.json", key.hex()))?;
        self.sync_folder(folder)
    }

    pub(crate) fn remove_file(&self, folder: &str, name: &str) -> Result<()> {
        let path = self.path(folder, name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).at("remove", path),
            _ => Ok(()),
        }
    }

    /// How long ago a file was written to; nothing when that is not known.
    pub(crate) fn age(&self, folder: &str, name: &str) -> Duration {
        let changed = fs::metadata(self.path(folder, name)).and_then(|meta| meta.modified());
        let age = changed.ok().and_then(|at| at.elapsed().ok());
        age.unwrap_or_default()
    }

    /// Removes a file or folder with everything in it.
    pub(crate) fn remove_folder(&self, folder: &str, name: &str) -> Result<()> {
        let path = self.path(folder, name);
        windlass_tree::remove(&path).at("remove", path)
    }

    /// A new empty file that goes away unless it is kept.
    pub(crate) fn temporary(&self) -> Result<Temporary> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.path("tmp", &number.to_string());
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            match options.open(&path) {
                // Of an earlier process, and could not be removed.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                file => {
                    let file = file.at("create", &path)?;
                    let path = TemporaryPath(path);
                    return Ok(Temporary { path, file });
                }
            }
        }
    }

    /// Copies a stream into a new file and tells its digest. `look` is asked now and then whether to
    /// go on.
    pub(crate) fn receive(
        &self,
        source: &mut impl Read,
        what: &str,
        bytes_max: u64,
        look: &dyn Fn() -> Result<()>,
    ) -> Result<Received> {
        let temporary = self.temporary()?;
        let mut file = Roomy::new(&temporary.file, look);
        let mut hasher = Sha256::new();
        let mut bytes = 0u64;
        let mut buffer = vec![0; 256 << 10];
        loop {
            watch::go_on()?;
            let n = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::read(what, e)),
            };
            bytes += n as u64;
            if bytes > bytes_max {
                return Err(Error::Limit {
                    what: format!("the size of {what}"),
                    limit: bytes_max,
                });
            }
            hasher.update(&buffer[..n]);
            file.write_all(&buffer[..n]).at("write", temporary.path())?;
        }
        Ok(Received {
            temporary,
            digest: Digest::from_hasher(hasher),
            bytes,
        })
    }

    /// Keeps bytes as a blob. It is lasting only after [`Files::sync_all`].
    pub(crate) fn write_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let temporary = self.temporary()?;
        (&temporary.file)
            .write_all(bytes)
            .at("write", temporary.path())?;
        temporary.keep_as(&self.blob(&digest))?;
        Ok(digest)
    }

    /// Reads a small blob.
    pub(crate) fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob(digest);
        fs::read(&path).at("read", path)
    }

    /// Everything written so far is on the disk afterwards. One call for thousands of files is far
    /// cheaper than one for each.
    pub(crate) fn sync_all(&self) -> Result<()> {
        rustix::fs::syncfs(&self.folder).at("synchronise", &self.root)
    }

    /// Bytes that are free on the disk.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.folder).at("examine", &self.root)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Bytes of a file, none when it is gone.
    pub(crate) fn length(&self, folder: &str, name: &str) -> u64 {
        fs::metadata(self.path(folder, name)).map_or(0, |meta| meta.len())
    }

    /// Whether more than the reserve is free on the disk.
    ///
    /// # Errors
    /// [`Error::DiskFull`].
    pub(crate) fn look_for_room(&self, reserve: u64) -> Result<()> {
        let free = self.free_bytes()?;
        match free >= reserve {
            true => Ok(()),
            false => Err(Error::DiskFull { free, reserve }),
        }
    }

    fn sync_folder(&self, folder: &str) -> Result<()> {
        let path = self.root.join(folder);
        File::open(&path)
            .and_then(|f| f.sync_all())
            .at("synchronise", path)
    }
}

/// What is left over takes room and harms nothing: a store that opens is worth more.
pub(crate) fn told(removed: Result<()>) {
    if let Err(error) = removed {
        tracing::warn!(
            error = error.detail(),
            "something left over stays in the image store"
        );
    }
}

fn check_format(root: &Path) -> Result<()> {
    let path = root.join("format");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == FORMAT => Ok(()),
        // A crash while the store was created; there is nothing in it yet.
        Ok(found) if !found.is_empty() => Err(Error::StoreFormat {
            path: root.to_path_buf(),
            found: found.trim().chars().take(40).collect(),
            known: FORMAT,
        }),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).at("read", path),
        _ => fs::write(&path, format!("{FORMAT}\n")).at("write", path),
    }
}

/// A file in `tmp`, removed when dropped.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: TemporaryPath,
    pub(crate) file: File,
}

impl Temporary {
    /// Gives it a lasting name.
    pub(crate) fn keep_as(self, path: &Path) -> Result<()> {
        self.path.keep_as(path)
    }

    pub(crate) fn path(&self) -> &Path {
        self.path.path()
    }

    /// Keeps it without an open descriptor.
    pub(crate) fn close(self) -> TemporaryPath {
        self.path
    }
}

/// The path of a file in `tmp`, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct TemporaryPath(PathBuf);

impl TemporaryPath {
    /// Gives the file a lasting name.
    pub(crate) fn keep_as(self, path: &Path) -> Result<()> {
        fs::rename(&self.0, path).at("write", path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        // After keep_as there is nothing under this name.
        let _ = fs::remove_file(&self.0);
    }
}

/// A received stream.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) temporary: Temporary,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}
