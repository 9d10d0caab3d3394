//! Room that is kept on the disk for the day it is full: a file that holds nothing and is given up
//! when a commit finds too little, so that stops and reports can still be written.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::limits;

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
        // A process that ended while it laid the file left one that holds less, or nothing.
        let allocated = fs::metadata(&path).map_or(0, |file| file.blocks().saturating_mul(512));
        Self {
            held: bytes > 0 && allocated >= bytes,
            path,
            bytes,
            refused: false,
        }
    }

    /// Gives the room up, also of a file that was laid in part; tells whether there was any.
    pub(crate) fn release(&mut self) -> bool {
        self.held = false;
        fs::remove_file(&self.path).is_ok()
    }

    /// Lays the ballast where it is missing and leaves more than `keep_bytes` of `free_bytes`.
    pub(crate) fn lay(&mut self, free_bytes: u64, keep_bytes: u64) {
        let nothing_to_do = self.held || self.refused || self.bytes == 0;
        if nothing_to_do || free_bytes < limits::begin_bytes(keep_bytes, self.bytes) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_less_is_laid_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ballast"), "").unwrap();
        let mut ballast = Ballast::of(dir.path(), 1 << 20);
        assert!(!ballast.held);
        ballast.lay(2 << 20, 0);
        assert!(ballast.held);
        assert!(Ballast::of(dir.path(), 1 << 20).held);
        assert!(!Ballast::of(dir.path(), 8 << 20).held);
        assert!(ballast.release() && !ballast.release());
        assert!(!dir.path().join("ballast").exists());
    }
}
