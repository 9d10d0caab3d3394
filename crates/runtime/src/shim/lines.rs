//! From the bytes a container writes to log records.
//!
//! A record is one line of the log file: `TIME STREAM F TEXT`, TIME as in RFC 3339 with nine
//! digits, STREAM `stdout` or `stderr`, `F` for a full line or the last piece of one and `P` for a
//! piece that goes on in the stream's next record. A container cannot forge a record: TEXT never
//! holds a newline, and everything it writes stands behind a head that the shim made.

use super::clock::write_rfc3339;

/// Longest TEXT of a record; a longer line is split.
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A stream's unfinished line.
pub(crate) struct Lines {
    stream: &'static str,
    text_bytes_max: usize,
    pending: Vec<u8>,
    /// The line's beginning has left already.
    split: bool,
}

impl Lines {
    pub(crate) fn new(stream: &'static str, text_bytes_max: usize) -> Lines {
        let text_bytes_max = text_bytes_max.clamp(1, TEXT_BYTES_MAX);
        Lines {
            stream,
            text_bytes_max,
            pending: Vec::new(),
            split: false,
        }
    }

    /// Takes what was read at `now` and hands every record that is complete to `sink`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], now: (u64, u32), sink: &mut impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = self.text_bytes_max - self.pending.len();
            let piece = &bytes[..bytes.len().min(room)];
            if let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
                self.pending.extend_from_slice(&piece[..end]);
                self.emit(b'F', now, sink);
                bytes = &bytes[end + 1..];
                continue;
            }
            self.pending.extend_from_slice(piece);
            bytes = &bytes[piece.len()..];
            // A line of exactly the limit is whole when its newline comes next.
            if self.pending.len() == self.text_bytes_max && bytes.first() != Some(&b'\n') {
                self.emit(b'P', now, sink);
            } else if bytes.first() == Some(&b'\n') {
                self.emit(b'F', now, sink);
                bytes = &bytes[1..];
            }
        }
        // An idle stream keeps no more memory than a terminal's line.
        if self.pending.is_empty() {
            self.pending.shrink_to(256);
        }
    }

    /// The stream has ended: what is left is a line.
    pub(crate) fn finish(&mut self, now: (u64, u32), sink: &mut impl FnMut(&[u8])) {
        if !self.pending.is_empty() || self.split {
            self.emit(b'F', now, sink);
        }
    }

    fn emit(&mut self, tag: u8, now: (u64, u32), sink: &mut impl FnMut(&[u8])) {
        let record = record(self.stream, tag, now, &self.pending);
        sink(&record);
        self.pending.clear();
        self.split = tag == b'P';
    }
}

/// One line of the log file. `text` holds no newline.
pub(crate) fn record(stream: &str, tag: u8, now: (u64, u32), text: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(text.len() + 48);
    write_rfc3339(&mut record, now);
    record.push(b' ');
    record.extend_from_slice(stream.as_bytes());
    record.extend_from_slice(&[b' ', tag, b' ']);
    record.extend_from_slice(text);
    record.push(b'\n');
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records without their time, of input that comes in pieces of every size.
    fn check(limit: usize, input: &str, expected: &[&str]) {
        for size in 1..=input.len().max(1) {
            let mut lines = Lines::new("stdout", limit);
            let mut records = Vec::new();
            let mut sink = |record: &[u8]| {
                let text = String::from_utf8(record.to_vec()).unwrap();
                let text = text.strip_suffix('\n').expect("one line").to_owned();
                assert!(!text.contains('\n'));
                records.push(
                    text.split_once(" stdout ")
                        .expect("the stream")
                        .1
                        .to_owned(),
                );
            };
            for piece in input.as_bytes().chunks(size) {
                lines.feed(piece, (0, 0), &mut sink);
            }
            lines.finish((0, 0), &mut sink);
            // A piece that ends at the limit cannot know that a newline follows: the line is then
            // split with an empty end, which joins to the same text.
            let joined = |records: &[String]| {
                records
                    .iter()
                    .map(|record| match record.split_at(2) {
                        ("F ", text) => format!("{text}\n"),
                        (_, text) => text.to_owned(),
                    })
                    .collect::<String>()
            };
            let expected: Vec<String> =
                expected.iter().map(|record| (*record).to_owned()).collect();
            assert_eq!(joined(&records), joined(&expected), "pieces of {size}");
            if size == input.len() {
                assert_eq!(records, expected);
            }
        }
    }

    #[test]
    fn lines_become_records() {
        check(8, "", &[]);
        check(8, "a\nb\n", &["F a", "F b"]);
        check(8, "\n\n", &["F ", "F "]);
        check(8, "no newline", &["P no newli", "F ne"]);
        check(8, "12345678\n", &["F 12345678"]);
        check(8, "123456789\n", &["P 12345678", "F 9"]);
        check(4, "1234567890ab\nx", &["P 1234", "P 5678", "F 90ab", "F x"]);
    }

    #[test]
    fn a_forged_record_stays_text() {
        let forged = "2026-01-01T00:00:00.000000000Z stderr F I am root";
        check(200, &format!("{forged}\n"), &[&format!("F {forged}")]);
        check(200, "carriage\rreturn\n", &["F carriage\rreturn"]);
    }
}
