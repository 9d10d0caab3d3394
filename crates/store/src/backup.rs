//! A backup: the state and its history, written out in a format of its own, so that it moves between
//! stores, machines and releases.
//!
//! Numbers are in little endian.
//!
//! ```text
//! file    = "windlass-backup\n", version u32 (2), turn u64, made_ms i64, label?, entry*, end
//! label   = 3 u8, length u32, bytes
//! entry   = row | history
//! row     = 1 u8, key length u32, value length u32, key, value
//! history = 2 u8, at_ms i64, subject length u32, value length u32, subject, value
//! end     = 0 u8, rows u64, records of history u64, checksum u64
//! ```
//!
//! The label is the writer's: what else a restore needs to know. Version 1 had none.
//!
//! Rows come in order of keys; history by day, in a day by subject, for a subject in the order it was
//! written. The checksum is XXH3-64 of every byte before it, and nothing follows it.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::embedded::{Embedded, Options};
use crate::{Batch, Error, HistoryRecord, Memory, Snapshot, Store as _, limits};

const MAGIC: &[u8; 16] = b"windlass-backup\n";
/// The version of the format that is written; it and all before it are read.
pub const VERSION: u32 = 2;
const ROW: u8 = 1;
const HISTORY: u8 = 2;
const END: u8 = 0;
const LABEL: u8 = 3;

/// Bytes of rows that a restore writes in one commit.
const RESTORE_BATCH_BYTES: usize = 1 << 20;

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The last turn in it.
    pub turn: u64,
    /// When it was made, in milliseconds since 1970 UTC.
    pub made_ms: i64,
    /// Rows of the state.
    pub rows: u64,
    /// Records of history.
    pub records: u64,
}

/// One entry of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The writer's label.
    Label(Vec<u8>),
    /// A row of the state: key and value.
    Row(Vec<u8>, Vec<u8>),
    /// A record of history.
    History(HistoryRecord),
}

/// What is done to a row on its way into a restored store: its key and value in, the value out.
pub type Mend<'a> = dyn FnMut(&[u8], Vec<u8>) -> Result<Vec<u8>, Error> + 'a;

/// Writes a view of a store. The store may be in use; the caller makes the bytes durable, and keeps
/// the file only when this returns `Ok`.
///
/// # Errors
/// [`Error::Damaged`] when the store is not sound, [`Error::Io`] when writing fails.
pub fn write(
    view: &dyn Snapshot,
    made_ms: i64,
    label: &[u8],
    target: &mut dyn Write,
) -> Result<Summary, Error> {
    let mut out = Hashed {
        inner: target,
        hash: Xxh3::new(),
    };
    let mut summary = Summary {
        turn: view.turn(),
        made_ms,
        rows: 0,
        records: 0,
    };
    out.put(&[
        MAGIC,
        &VERSION.to_le_bytes(),
        &summary.turn.to_le_bytes(),
        &made_ms.to_le_bytes(),
    ])?;
    out.put(&[&[LABEL], &length(label)?, label])?;
    view.rows(&mut |key, value| {
        summary.rows += 1;
        out.put(&[&[ROW], &length(key)?, &length(value)?, key, value])
    })?;
    view.history(&mut |record| {
        summary.records += 1;
        let (subject, value) = (record.subject.as_bytes(), record.value.as_slice());
        out.put(&[
            &[HISTORY],
            &record.at_ms.to_le_bytes(),
            &length(subject)?,
            &length(value)?,
            subject,
            value,
        ])
    })?;
    out.put(&[
        &[END],
        &summary.rows.to_le_bytes(),
        &summary.records.to_le_bytes(),
    ])?;
    let checksum = out.hash.digest();
    out.put(&[&checksum.to_le_bytes()])?;
    out.inner
        .flush()
        .map_err(Error::io("write", Path::new("the backup")))?;
    Ok(summary)
}

/// Reads a backup, entry by entry. Nothing it gave may be trusted before it returns `Ok`.
///
/// # Errors
/// [`Error::Backup`] and [`Error::Format`] for what is not a whole backup, or what `each` returned.
pub fn read(
    source: &mut dyn Read,
    each: &mut dyn FnMut(u64, Entry) -> Result<(), Error>,
) -> Result<Summary, Error> {
    let mut input = Hashed {
        inner: source,
        hash: Xxh3::new(),
    };
    if &input.array::<16>()? != MAGIC {
        return Err(refused("it does not begin like a backup of windlass"));
    }
    let found = u32::from_le_bytes(input.array()?);
    if !(1..=VERSION).contains(&found) {
        return Err(Error::Format {
            what: "the backup".to_owned(),
            found,
            known: VERSION,
        });
    }
    let turn = u64::from_le_bytes(input.array()?);
    let mut summary = Summary {
        turn,
        made_ms: i64::from_le_bytes(input.array()?),
        rows: 0,
        records: 0,
    };
    loop {
        match input.array::<1>()? {
            [ROW] => {
                let (key, value) = input.pair()?;
                summary.rows += 1;
                each(turn, Entry::Row(key, value))?;
            }
            [HISTORY] => {
                let at_ms = i64::from_le_bytes(input.array()?);
                let (subject, value) = input.pair()?;
                let subject = String::from_utf8(subject)
                    .map_err(|_| refused("a subject of its history is not text"))?;
                summary.records += 1;
                each(
                    turn,
                    Entry::History(HistoryRecord {
                        at_ms,
                        subject,
                        value,
                    }),
                )?;
            }
            [LABEL] => each(turn, Entry::Label(input.label()?))?,
            [END] => break,
            [other] => {
                return Err(refused(&format!(
                    "it holds an entry of the unknown kind {other}"
                )));
            }
        }
    }
    input.end(summary)
}

/// Makes a new store in `dir` from a backup, each row as `mend` gives it back. The folder must be
/// empty or absent; it gets the store only when the whole backup was read and found sound, and
/// `settle` has made ready, by the backup's label, whatever must be there before the store.
///
/// # Errors
/// [`Error::NotEmpty`], [`Error::Backup`], [`Error::Format`], [`Error::Full`] when the disk has less
/// than the reserve, or what the disk says. Nothing is left behind then.
pub fn restore(
    source: &mut dyn Read,
    dir: &Path,
    options: Options,
    mend: &mut Mend<'_>,
    settle: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Summary, Error> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            return Err(Error::NotEmpty {
                dir: dir.to_owned(),
            });
        }
        Ok(false) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("list", dir)(error)),
    }
    let name = dir
        .file_name()
        .ok_or_else(|| refused("the folder to restore into has no name"))?;
    let partial = dir.with_file_name(format!(
        ".{}.restoring-{}",
        name.to_string_lossy(),
        std::process::id()
    ));
    let partial = Partial { dir: partial };
    let (restored, label) = restore_embedded(source, &partial.dir, options, mend)?;
    settle(&label)?;
    fs::rename(&partial.dir, dir).map_err(Error::io("rename the restored store to", dir))?;
    let parent = dir
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let synced = fs::File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(Error::io("sync the folder", parent))?;
    Ok(restored)
}

/// Makes a store in memory from a backup.
///
/// # Errors
/// Like [`read`].
pub fn restore_memory(source: &mut dyn Read) -> Result<Memory, Error> {
    let mut store = Memory::default();
    gather(
        source,
        &mut |_, value| Ok(value),
        &mut |batch, first_index| {
            store.write(batch, first_index);
            Ok(())
        },
    )?;
    store.crash_image()
}

fn restore_embedded(
    source: &mut dyn Read,
    dir: &Path,
    options: Options,
    mend: &mut Mend<'_>,
) -> Result<(Summary, Vec<u8>), Error> {
    let mut store = Embedded::open(dir, options)?;
    debug_assert!(store.is_new());
    gather(source, mend, &mut |batch, first_index| {
        leave_reserve(&store)?;
        store.write(batch, first_index)
    })
}

/// A restored store that then refuses every call for want of room would be no help.
fn leave_reserve(store: &Embedded) -> Result<(), Error> {
    let space = store.free_space()?;
    match space.is_low() {
        false => Ok(()),
        true => Err(Error::Full {
            disk: space.disk,
            free_bytes: space.free_bytes,
            need_bytes: space.reserve_bytes,
        }),
    }
}

/// Reads a backup into batches that all carry its turn, and hands each to `write`, with the number of
/// its first record. Returns the label too.
fn gather(
    source: &mut dyn Read,
    mend: &mut Mend<'_>,
    write: &mut dyn FnMut(&Batch, u32) -> Result<(), Error>,
) -> Result<(Summary, Vec<u8>), Error> {
    let mut batch = Batch::default();
    let mut label = Vec::new();
    let (mut bytes, mut first_index) = (0, 0_u32);
    let mut flush = |batch: &mut Batch, turn| {
        batch.turn = turn;
        batch
            .check_content(&limits::LIMITS)
            .map_err(|refusal| refused(&refusal.to_string()))?;
        write(batch, first_index)?;
        let records = u32::try_from(batch.history.len()).ok();
        first_index = records
            .and_then(|records| first_index.checked_add(records))
            .ok_or_else(|| refused("it holds more records of history than can be numbered"))?;
        *batch = Batch::default();
        Ok(())
    };
    let summary = read(source, &mut |turn, entry| {
        match entry {
            Entry::Label(found) => label = found,
            Entry::Row(key, value) => {
                let value = mend(&key, value)?;
                bytes += key.len() + value.len();
                batch.rows.push((key, Some(value)));
            }
            Entry::History(record) => {
                bytes += record.subject.len() + record.value.len();
                batch.history.push(record);
            }
        }
        // One day's worth of new keyspaces at a time is checked by the store itself.
        let full = batch.rows.len() >= limits::BATCH_ROWS_MAX
            || batch.history.len() >= limits::BATCH_HISTORY_MAX;
        let new_day = begins_day(&batch.history);
        if full || new_day || bytes >= RESTORE_BATCH_BYTES {
            bytes = 0;
            flush(&mut batch, turn)?;
        }
        Ok(())
    })?;
    flush(&mut batch, summary.turn)?;
    Ok((summary, label))
}

/// Whether the last record is of another day than the one before it.
fn begins_day(history: &[HistoryRecord]) -> bool {
    let day = |record: &HistoryRecord| crate::Day::of_ms(record.at_ms);
    matches!(history, [.., before, last] if day(before) != day(last))
}

/// A folder that goes away unless it was renamed.
struct Partial {
    dir: PathBuf,
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is nothing here any more, and the error says just that.
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// A stream whose bytes are summed up as they pass.
struct Hashed<Stream> {
    inner: Stream,
    hash: Xxh3,
}

impl Hashed<&mut dyn Write> {
    fn put(&mut self, pieces: &[&[u8]]) -> Result<(), Error> {
        for piece in pieces {
            self.hash.update(piece);
            self.inner
                .write_all(piece)
                .map_err(Error::io("write", Path::new("the backup")))?;
        }
        Ok(())
    }
}

impl Hashed<&mut dyn Read> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.inner
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => refused("it ends before its end"),
                _ => Error::io("read", Path::new("the backup"))(error),
            })?;
        self.hash.update(bytes);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn label(&mut self) -> Result<Vec<u8>, Error> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        if length > limits::LABEL_BYTES_MAX {
            return Err(refused("its label is larger than any label may be"));
        }
        let mut label = vec![0; length];
        self.fill(&mut label)?;
        Ok(label)
    }

    /// Two lengths, then what they measure. Lengths come from outside: they are checked first.
    fn pair(&mut self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let key = u32::from_le_bytes(self.array()?) as usize;
        let value = u32::from_le_bytes(self.array()?) as usize;
        if key > limits::KEY_BYTES_MAX || value > limits::VALUE_BYTES_MAX {
            return Err(refused(
                "it holds an entry that is larger than any entry may be",
            ));
        }
        let (mut key, mut value) = (vec![0; key], vec![0; value]);
        self.fill(&mut key)?;
        self.fill(&mut value)?;
        Ok((key, value))
    }

    fn end(mut self, summary: Summary) -> Result<Summary, Error> {
        let counts = (
            u64::from_le_bytes(self.array()?),
            u64::from_le_bytes(self.array()?),
        );
        let expected = self.hash.digest();
        if u64::from_le_bytes(self.array()?) != expected
            || counts != (summary.rows, summary.records)
        {
            return Err(refused(
                "its checksum does not match: it changed since it was written",
            ));
        }
        match self.inner.read(&mut [0]) {
            Ok(0) => Ok(summary),
            Ok(_) => Err(refused("something follows its end")),
            Err(error) => Err(Error::io("read", Path::new("the backup"))(error)),
        }
    }
}

fn length(bytes: &[u8]) -> Result<[u8; 4], Error> {
    let length =
        u32::try_from(bytes.len()).map_err(|_| refused("an entry is too large to be written"))?;
    Ok(length.to_le_bytes())
}

fn refused(what: &str) -> Error {
    Error::Backup {
        what: what.to_owned(),
    }
}
