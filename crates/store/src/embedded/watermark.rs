//! The last turn acknowledged, beside the store and independent of the engine.
//!
//! Sixteen bytes, overwritten in place after every commit: the turn, then a checksum, in little endian.
//! It is not synced every time: after a power cut it may name an older turn than the store holds,
//! never a newer one, since the commit was durable before. So a store behind its watermark lost turns.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::{Error, limits, row};

const LABEL: &[u8] = b"watermark";

#[derive(Debug)]
pub(crate) struct Watermark {
    file: File,
    path: PathBuf,
    unsynced: u32,
}

/// What a watermark file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// There is no file.
    Missing,
    /// The file is not what was written.
    Unreadable,
    /// The last turn acknowledged.
    Turn(u64),
}

impl Watermark {
    fn path(dir: &Path) -> PathBuf {
        dir.join("watermark")
    }

    /// Reads the watermark of a folder.
    pub(crate) fn read(dir: &Path) -> Result<Reading, Error> {
        let path = Self::path(dir);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Reading::Missing);
            }
            Err(source) => return Err(Error::io("open the watermark", &path)(source)),
        };
        let mut bytes = [0; 16];
        match file.read_exact(&mut bytes) {
            Ok(()) => Ok(decode(bytes).map_or(Reading::Unreadable, Reading::Turn)),
            Err(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                Ok(Reading::Unreadable)
            }
            Err(source) => Err(Error::io("read the watermark", &path)(source)),
        }
    }

    /// Opens the watermark for writing and makes it say `turn`, durably.
    pub(crate) fn open(dir: &Path, turn: u64) -> Result<Self, Error> {
        let path = Self::path(dir);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("open the watermark", &path))?;
        let mut watermark = Self {
            file,
            path,
            unsynced: 0,
        };
        watermark.write(turn)?;
        watermark.sync()?;
        // The folder may be new too, so its name in the one above it has to last as well.
        for folder in [Some(dir), dir.parent()].into_iter().flatten() {
            if !folder.as_os_str().is_empty() {
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                synced.map_err(Error::io("sync the folder", folder))?;
            }
        }
        Ok(watermark)
    }

    /// Names a turn as acknowledged.
    pub(crate) fn write(&mut self, turn: u64) -> Result<(), Error> {
        self.file
            .write_all_at(&encode(turn), 0)
            .map_err(Error::io("write the watermark", &self.path))?;
        self.unsynced += 1;
        if self.unsynced >= limits::WATERMARK_SYNC_COMMITS {
            self.sync()?;
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.unsynced = 0;
        self.file
            .sync_data()
            .map_err(Error::io("sync the watermark", &self.path))
    }
}

fn encode(turn: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (number, checksum) = bytes.split_at_mut(8);
    number.copy_from_slice(&turn.to_le_bytes());
    checksum.copy_from_slice(&row::checksum(LABEL, &turn.to_le_bytes()).to_le_bytes());
    bytes
}

fn decode(bytes: [u8; 16]) -> Option<u64> {
    let turn = u64::from_le_bytes(*bytes.first_chunk()?);
    (encode(turn) == bytes).then_some(turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_written_or_that_it_cannot() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(
            Watermark::read(dir.path()).expect("readable"),
            Reading::Missing
        );
        let mut watermark = Watermark::open(dir.path(), 3).expect("a watermark");
        assert_eq!(
            Watermark::read(dir.path()).expect("readable"),
            Reading::Turn(3)
        );
        watermark.write(u64::MAX).expect("written");
        assert_eq!(
            Watermark::read(dir.path()).expect("readable"),
            Reading::Turn(u64::MAX)
        );
        for bytes in [vec![], vec![0; 15], vec![0; 16], vec![9; 16]] {
            std::fs::write(Watermark::path(dir.path()), bytes).expect("written");
            assert_eq!(
                Watermark::read(dir.path()).expect("readable"),
                Reading::Unreadable
            );
        }
    }
}
