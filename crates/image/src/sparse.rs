//! Sparse files as GNU tar writes them into PAX records: formats 0.0, 0.1 and 1.0.
//!
//! The archive holds only the pieces with content, and a map says where they lie. Go reads all
//! three, so that Docker and podman take them. The map is believed only when it is in order, does
//! not overlap, stays inside the file and accounts for every byte that follows.

use std::io::{self, Read};

/// A file that is mostly holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// Bytes of the whole file.
    pub(crate) length: u64,
    /// Offsets and lengths of the pieces, in order.
    pieces: Vec<(u64, u64)>,
}

/// What the records of one PAX header say.
#[derive(Debug, Default)]
pub(crate) struct Records {
    version: (Option<u64>, Option<u64>),
    pub(crate) name: Option<Vec<u8>>,
    length: Option<u64>,
    /// Whether the length came under the key of formats 0.0 and 0.1.
    is_first_form: bool,
    /// Offsets and lengths in turn.
    map: Vec<u64>,
    seen: bool,
}

/// Where a map lies.
pub(crate) enum Map {
    /// It was in the records.
    Known(Sparse),
    /// Before the content; the length of the whole file is known.
    Ahead(u64),
}

impl Records {
    /// Takes a record whose key begins with `GNU.sparse.`.
    pub(crate) fn apply(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.seen = true;
        match key {
            b"GNU.sparse.major" => self.version.0 = Some(number(value)?),
            b"GNU.sparse.minor" => self.version.1 = Some(number(value)?),
            b"GNU.sparse.name" => self.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                self.length = Some(number(value)?);
                self.is_first_form = key == b"GNU.sparse.size";
            }
            b"GNU.sparse.numblocks" => {}
            b"GNU.sparse.offset" if self.map.len().is_multiple_of(2) => {
                self.map.push(number(value)?)
            }
            b"GNU.sparse.numbytes" if self.map.len() % 2 == 1 => self.map.push(number(value)?),
            b"GNU.sparse.map" if self.map.is_empty() => {
                let numbers = value.split(|&b| b == b',').filter(|n| !n.is_empty());
                self.map = numbers.map(number).collect::<io::Result<_>>()?;
            }
            _ => return Err(bad("a sparse file in a form that is not known")),
        }
        Ok(())
    }

    /// What they say together; nothing when there were none.
    pub(crate) fn finish(&self, content: u64) -> io::Result<Option<Map>> {
        if !self.seen {
            return Ok(None);
        }
        let length = self.length;
        let length = length.ok_or_else(|| bad("a sparse file without its length"))?;
        match self.version {
            (None | Some(0), _) if self.is_first_form => {
                let sparse = Sparse::new(length, &self.map, content)?;
                Ok(Some(Map::Known(sparse)))
            }
            (Some(1), Some(0)) if self.map.is_empty() => Ok(Some(Map::Ahead(length))),
            _ => Err(bad("a sparse file in a form that is not known")),
        }
    }
}

impl Sparse {
    fn new(length: u64, map: &[u64], content: u64) -> io::Result<Self> {
        let (pairs, rest) = map.as_chunks::<2>();
        let (mut at, mut sum) = (0u64, 0u64);
        for [offset, bytes] in pairs {
            let end = offset.checked_add(*bytes).filter(|end| *end <= length);
            let end = end.ok_or_else(|| bad("a sparse file with content behind its end"))?;
            if *offset < at {
                return Err(bad("a sparse file whose pieces overlap"));
            }
            at = end;
            sum += bytes;
        }
        if !rest.is_empty() || sum != content {
            return Err(bad("a sparse file whose map does not fit its content"));
        }
        Ok(Self {
            length,
            pieces: pairs
                .iter()
                .map(|[offset, bytes]| (*offset, *bytes))
                .collect(),
        })
    }

    /// Reads the map that stands before the content: the number of pieces, then offset and length
    /// of each, one to a line, filled up to whole blocks.
    pub(crate) fn read_map(
        length: u64,
        content: u64,
        map_max: u64,
        source: &mut impl Read,
    ) -> io::Result<Self> {
        let mut text = Vec::new();
        let mut wanted = None;
        let mut lines = 0u64;
        let mut seen = 0;
        while wanted.is_none_or(|wanted: u64| lines < wanted) {
            let mut block = [0; 512];
            source.read_exact(&mut block)?;
            text.extend_from_slice(&block);
            lines += block.iter().filter(|&&b| b == b'\n').count() as u64;
            seen += 512;
            if wanted.is_none() && lines > 0 {
                let count = number(text.split(|&b| b == b'\n').next().unwrap_or_default())?;
                wanted = count.checked_mul(2).and_then(|n| n.checked_add(1));
                wanted.ok_or_else(|| bad("a sparse file with too many pieces"))?;
            }
            if seen > map_max {
                return Err(bad("a sparse file with too many pieces"));
            }
        }
        let wanted = usize::try_from(wanted.unwrap_or(1)).unwrap_or(usize::MAX);
        let numbers = text.split(|&b| b == b'\n').take(wanted).skip(1);
        let map: Vec<u64> = numbers.map(number).collect::<io::Result<_>>()?;
        let content = content.checked_sub(seen);
        Self::new(length, &map, content.unwrap_or(u64::MAX))
    }

    /// The whole file, holes as zeros, from the pieces that `source` holds one after the other.
    pub(crate) fn filled<'a, R: Read>(&'a self, source: &'a mut R) -> Filled<'a, R> {
        Filled {
            source,
            sparse: self,
            next: 0,
            at: 0,
        }
    }
}

/// See [`Sparse::filled`].
pub(crate) struct Filled<'a, R> {
    source: &'a mut R,
    sparse: &'a Sparse,
    /// The piece that is read or comes next.
    next: usize,
    at: u64,
}

impl<R: Read> Read for Filled<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pieces = &self.sparse.pieces;
        while pieces.get(self.next).is_some_and(|(o, n)| o + n <= self.at) {
            self.next += 1;
        }
        let (hole_end, piece_end) = match pieces.get(self.next) {
            Some((offset, bytes)) => (*offset, offset + bytes),
            None => (self.sparse.length, self.sparse.length),
        };
        let until = if self.at < hole_end {
            hole_end
        } else {
            piece_end
        };
        let left = usize::try_from(until.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        if length == 0 {
            return Ok(0);
        }
        let read = match self.at < hole_end {
            true => {
                buffer[..length].fill(0);
                length
            }
            false => self.source.read(&mut buffer[..length])?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

fn number(digits: &[u8]) -> io::Result<u64> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| valid);
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| bad("a sparse file with a number that is none"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(length: u64, map: &[u64], content: &[u8]) -> io::Result<Vec<u8>> {
        let sparse = Sparse::new(length, map, content.len() as u64)?;
        let mut source = content;
        let mut bytes = Vec::new();
        sparse.filled(&mut source).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn holes_are_zeros() {
        assert_eq!(filled(6, &[1, 2, 4, 1], b"abc").unwrap(), b"\0ab\0c\0");
        assert_eq!(filled(2, &[0, 2], b"ab").unwrap(), b"ab");
        // GNU tar closes a map with an empty piece at the end.
        assert_eq!(filled(3, &[0, 1, 3, 0], b"a").unwrap(), b"a\0\0");
        assert_eq!(filled(2, &[], b"").unwrap(), b"\0\0");
        assert_eq!(filled(0, &[], b"").unwrap(), b"");
    }

    #[test]
    fn maps_that_do_not_fit() {
        for (length, map, content) in [
            (3, &[0u64, 4][..], &b"abcd"[..]),
            (9, &[2, 2, 1, 1], b"abc"),
            (9, &[0, 2], b"abc"),
            (9, &[0, 2, 4], b"ab"),
            (9, &[u64::MAX, 2], b"ab"),
        ] {
            assert!(filled(length, map, content).is_err(), "{map:?}");
        }
    }

    #[test]
    fn a_map_before_the_content() {
        let read = |map: &str, content: u64| {
            let mut block = map.as_bytes().to_vec();
            block.resize(block.len().next_multiple_of(512).max(512), 0);
            let all = content + block.len() as u64;
            Sparse::read_map(9, all, 2048, &mut &block[..])
        };
        assert_eq!(read("1\n3\n2\n", 2).unwrap().pieces, [(3, 2)]);
        let many: String = (0..200).map(|at| format!("{at}\n0\n")).collect();
        assert!(Sparse::new(9, &[0, 2], 2).is_ok());
        for (map, content) in [
            ("1\n3\n2\n", 3),
            ("2\n3\n2\n", 2),
            ("x\n", 0),
            ("99999999999999999999\n", 0),
            ("9223372036854775808\n", 0),
            (&*format!("200000\n{many}"), 0),
        ] {
            assert!(read(map, content).is_err(), "{map}");
        }
    }
}
