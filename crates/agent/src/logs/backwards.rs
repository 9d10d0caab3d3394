//! Reads a log from its end: where its last lines begin.

use super::parse;
use crate::limits::{LOG_BLOCK_BYTES, LOG_RECORD_BYTES_MAX};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Counts lines from the end of a log, over several files of it, the newest first.
pub(super) struct Tail {
    /// Lines still to be found.
    left: usize,
    /// Streams of which a line's end was seen.
    ended: BTreeSet<String>,
}

impl Tail {
    pub(super) fn new(lines: usize) -> Tail {
        Tail {
            left: lines,
            ended: BTreeSet::new(),
        }
    }

    /// Where the wanted lines begin in this file, and whether there may be more of them in an older
    /// one. Pieces of a long line count as one line.
    pub(super) fn find(&mut self, file: &File) -> io::Result<(u64, bool)> {
        let mut records = Records::new(file)?;
        let mut begin = records.end();
        while let Some((at, record)) = records.previous()? {
            if let Some(record) = parse(&record) {
                // The last record of a stream ends a line, even one that goes on later.
                let is_last = self.ended.insert(record.stream);
                if !record.partial || is_last {
                    let Some(left) = self.left.checked_sub(1) else {
                        return Ok((begin, false));
                    };
                    self.left = left;
                }
            }
            begin = at;
        }
        Ok((begin, true))
    }
}

/// A file's whole records, the last one first.
struct Records<'f> {
    file: &'f File,
    /// Where `bytes` begins in the file.
    from: u64,
    /// What was read and not given yet: whole records, but for the first one's begin.
    bytes: Vec<u8>,
}

impl Records<'_> {
    /// At the end of the last whole record.
    fn new(file: &File) -> io::Result<Records<'_>> {
        let mut records = Records {
            file,
            from: file.metadata()?.len(),
            bytes: Vec::new(),
        };
        // Of a record whose newline is not written yet the reader makes a whole one later.
        let end = records.line_begin(records.bytes.len())?;
        records.bytes.truncate(end);
        Ok(records)
    }

    /// Where what was not given yet ends in the file.
    fn end(&self) -> u64 {
        self.from.saturating_add(self.bytes.len() as u64)
    }

    /// Offset and bytes of the record before, without its newline.
    fn previous(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        if self.end() == 0 {
            return Ok(None);
        }
        let newline = self.bytes.len().saturating_sub(1);
        let begin = self.line_begin(newline)?;
        let mut record = self.bytes.split_off(begin);
        record.pop();
        Ok(Some((self.end(), record)))
    }

    /// Where the line begins in `bytes` of which `end` is the end; reads what is missing.
    fn line_begin(&mut self, end: usize) -> io::Result<usize> {
        let mut end = end;
        loop {
            let before = self.bytes.get(..end).unwrap_or_default();
            if let Some(newline) = before.iter().rposition(|byte| *byte == b'\n') {
                return Ok(newline.saturating_add(1));
            }
            // What is longer is no record: it is given in pieces, which no one can parse.
            if self.from == 0 || self.bytes.len() > LOG_RECORD_BYTES_MAX {
                return Ok(0);
            }
            end = end.saturating_add(self.read_block()?);
        }
    }

    /// Reads the block before; how many bytes it has.
    fn read_block(&mut self) -> io::Result<usize> {
        let from = self.from.saturating_sub(LOG_BLOCK_BYTES as u64);
        let length = usize::try_from(self.from - from).unwrap_or(LOG_BLOCK_BYTES);
        let mut block = vec![0; length];
        self.file.read_exact_at(&mut block, from)?;
        block.append(&mut self.bytes);
        self.bytes = block;
        self.from = from;
        Ok(length)
    }
}
