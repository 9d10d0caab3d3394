//! How a value lies on disk: a head with a checksum, and further parts when it is long.
//!
//! The checksum covers the key and the whole value, so that it also finds a value under a wrong key
//! and a part that is missing. The head is `checksum u64, further parts u16, first bytes`, numbers in
//! little endian; a further part is bare bytes.

use xxhash_rust::xxh3::Xxh3;

use crate::limits::PART_BYTES_MAX;

const HEAD_BYTES: usize = 10;

/// A value made ready for the disk.
pub(crate) struct Parts<'value> {
    pub(crate) head: Vec<u8>,
    pub(crate) further: std::slice::Chunks<'value, u8>,
    pub(crate) checksum: u64,
}

/// Splits a value. Values are at most [`crate::limits::VALUE_BYTES_MAX`] long, so that the count of
/// parts always fits.
pub(crate) fn split<'value>(key: &[u8], value: &'value [u8]) -> Parts<'value> {
    let checksum = checksum(key, value);
    let (first, rest) = value.split_at(value.len().min(PART_BYTES_MAX));
    let further = rest.chunks(PART_BYTES_MAX);
    let count = u16::try_from(further.len()).unwrap_or(u16::MAX);
    let mut head = Vec::with_capacity(HEAD_BYTES + first.len());
    head.extend_from_slice(&checksum.to_le_bytes());
    head.extend_from_slice(&count.to_le_bytes());
    head.extend_from_slice(first);
    Parts {
        head,
        further,
        checksum,
    }
}

/// A head as it was read. Nothing of it is verified before [`verify`].
pub(crate) struct Head<'bytes> {
    pub(crate) checksum: u64,
    pub(crate) further: u16,
    pub(crate) first: &'bytes [u8],
}

/// Reads a head; `None` when it is too short to be one.
pub(crate) fn head(bytes: &[u8]) -> Option<Head<'_>> {
    let (checksum, rest) = bytes.split_first_chunk()?;
    let (further, first) = rest.split_first_chunk()?;
    Some(Head {
        checksum: u64::from_le_bytes(*checksum),
        further: u16::from_le_bytes(*further),
        first,
    })
}

/// Whether a joined value is the one that was written under the key.
pub(crate) fn verify(key: &[u8], value: &[u8], expected: u64) -> bool {
    checksum(key, value) == expected
}

/// XXH3-64 of the key's length, the key and the value.
pub(crate) fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(value);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_the_split() {
        for size in [
            0,
            1,
            PART_BYTES_MAX - 1,
            PART_BYTES_MAX,
            PART_BYTES_MAX + 1,
            65_536,
        ] {
            let value: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let parts = split(b"key", &value);
            assert!(parts.head.len() < 4_096);
            let read = head(&parts.head).expect("a head");
            let mut joined = read.first.to_vec();
            assert_eq!(usize::from(read.further), parts.further.len());
            parts
                .further
                .for_each(|part| joined.extend_from_slice(part));
            assert_eq!(joined, value);
            assert!(verify(b"key", &joined, read.checksum));
            assert!(!verify(b"kex", &joined, read.checksum));
            joined.push(0);
            assert!(!verify(b"key", &joined, read.checksum));
        }
        assert!(head(&[0; HEAD_BYTES - 1]).is_none());
    }
}
