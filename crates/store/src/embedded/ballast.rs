//! Room that is kept on the disk for the day it is full: a file that holds nothing and is given up
//! when a commit finds too little, so that stops and reports can still be written.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    bytes: u64,
    held: bool,
    /// Whether this disk would not promise room: asked again at the next start.
    refused: bool,
}

impl Ballast {
    /// The ballast of a folder, laid or not.
    pub(crate) fn of(dir: &Path, bytes: u64) -> Self {
        let path = dir.join("ballast");
        Self {
            held: path.exists(),
            path,
            bytes,
            refused: false,
        }
    }

    /// Gives the room up; tells whether there was any.
    pub(crate) fn release(&mut self) -> bool {
        let was_held = self.held && fs::remove_file(&self.path).is_ok();
        self.held = false;
        was_held
    }

    /// Lays the ballast where it is missing and leaves more than `keep_bytes` of `free_bytes`.
    pub(crate) fn lay(&mut self, free_bytes: u64, keep_bytes: u64) {
        let enough = keep_bytes.saturating_add(self.bytes.saturating_mul(2));
        if self.held || self.refused || self.bytes == 0 || free_bytes < enough {
            return;
        }
        self.held = self.allocate().is_ok();
        // Some file systems cannot set room aside. The floor still keeps commits whole there.
        self.refused = !self.held;
        if self.refused {
            drop(fs::remove_file(&self.path));
        }
    }

    fn allocate(&self) -> std::io::Result<()> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?;
        Ok(())
    }
}
