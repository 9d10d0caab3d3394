//! `net.ipv4.neigh.default.gc_thresh*`: how many neighbours the kernel remembers, of all network
//! namespaces together. Usually it is 1,024; each task that talks takes at least two, its own of the
//! gateway and the host's of it. Beyond, packets are dropped, the machine's own among them.
//!
//! So it is raised when a second bridge is made, and only then: this machine really has that many
//! tasks. A file on tmpfs keeps what it was, to be given back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Result, Trying};

/// Entries that are never collected, that are collected after five seconds, and that are not taken.
const WANTED: [u32; 3] = [8_192, 32_768, 65_536];
const NAMES: [&str; 3] = ["gc_thresh1", "gc_thresh2", "gc_thresh3"];
/// Absent but in the machine's first network namespace.
const FOLDER: &str = "/proc/sys/net/ipv4/neigh/default";

/// The limits of this machine, and what they were.
#[derive(Debug, Clone)]
pub(crate) struct Neighbours {
    record: PathBuf,
    folder: PathBuf,
}

impl Neighbours {
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self {
            record: run_dir.join("neighbours"),
            folder: PathBuf::from(FOLDER),
        }
    }

    /// Raises what is lower than a machine of thousands of tasks needs.
    pub(crate) fn raise(&self) {
        match self.try_raise() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, "cannot raise {FOLDER}/gc_thresh*: with thousands \
                                         of tasks the kernel may forget how to reach them")
            }
        }
    }

    fn try_raise(&self) -> io::Result<()> {
        let before = self.read()?;
        if before
            .iter()
            .zip(WANTED)
            .all(|(held, wanted)| *held >= wanted)
        {
            return Ok(());
        }
        if !self.record.exists() {
            fs::write(&self.record, before.map(|held| held.to_string()).join(" "))?;
        }
        // The highest first: none may lie above the next.
        for at in [2, 1, 0] {
            self.write(at, before[at].max(WANTED[at]))?;
        }
        Ok(())
    }

    /// Gives back what was raised, unless others may need it by now.
    pub(crate) fn restore(&self, others: bool) -> Result<()> {
        let restoring = || format!("restore {FOLDER}/gc_thresh*");
        let Ok(text) = fs::read_to_string(&self.record) else {
            return Ok(());
        };
        let numbers: Vec<u32> = text.split(' ').filter_map(|n| n.parse().ok()).collect();
        if let (Ok(before), false) = (<[u32; 3]>::try_from(numbers), others) {
            for (at, held) in before.into_iter().enumerate() {
                self.write(at, held).trying(restoring)?;
            }
        }
        fs::remove_file(&self.record).trying(restoring)
    }

    fn read(&self) -> io::Result<[u32; 3]> {
        let mut held = [0; 3];
        for (name, held) in NAMES.iter().zip(&mut held) {
            let text = fs::read_to_string(self.folder.join(name))?;
            *held = text.trim().parse().map_err(io::Error::other)?;
        }
        Ok(held)
    }

    fn write(&self, at: usize, value: u32) -> io::Result<()> {
        fs::write(self.folder.join(NAMES[at]), value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(held: [u32; 3]) -> (tempfile::TempDir, Neighbours) {
        let folder = tempfile::tempdir().expect("folder");
        for (name, held) in NAMES.iter().zip(held) {
            fs::write(folder.path().join(name), format!("{held}\n")).expect("writes");
        }
        let neighbours = Neighbours {
            record: folder.path().join("record"),
            folder: folder.path().to_owned(),
        };
        (folder, neighbours)
    }

    #[test]
    fn limits_are_raised_and_given_back() {
        let (_folder, neighbours) = machine([128, 40_000, 1_024]);
        for _ in 0..2 {
            neighbours.raise();
            assert_eq!(neighbours.read().expect("reads"), [8_192, 40_000, 65_536]);
        }
        neighbours.restore(false).expect("restores");
        assert_eq!(neighbours.read().expect("reads"), [128, 40_000, 1_024]);
        neighbours
            .restore(false)
            .expect("nothing is left to restore");
    }

    #[test]
    fn others_keep_what_they_may_need() {
        let (_folder, neighbours) = machine([128, 512, 1_024]);
        neighbours.raise();
        neighbours.restore(true).expect("leaves them");
        assert_eq!(neighbours.read().expect("reads"), WANTED);
        let (_folder, enough) = machine([9_000, 90_000, 90_000]);
        enough.raise();
        assert!(!enough.record.exists(), "there was nothing to raise");
    }

    #[test]
    fn a_network_namespace_without_them_is_no_hindrance() {
        let folder = tempfile::tempdir().expect("folder");
        let neighbours = Neighbours {
            record: folder.path().join("record"),
            folder: folder.path().join("none"),
        };
        neighbours.raise();
        neighbours.restore(false).expect("nothing to restore");
    }
}
