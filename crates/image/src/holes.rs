//! Writes files whose zeros take no room on the disk.
//!
//! A few kilobytes of a layer can say that a file has gigabytes of zeros. They are what the image
//! means, and cost nothing as holes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// The block size of every file system in use, or a multiple of it.
const BLOCK: usize = 4096;
const BUFFER: usize = 64 * BLOCK;

/// Copies all of `source` into a new file and gives back how many bytes it was. Blocks of zeros
/// become holes.
pub(crate) fn copy(source: &mut impl Read, file: &mut File) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut length = 0u64;
    let mut hole = 0i64;
    loop {
        let filled = fill(source, &mut buffer)?;
        for block in buffer[..filled].chunks(BLOCK) {
            if block.iter().all(|&byte| byte == 0) {
                hole += block.len() as i64;
                continue;
            }
            if hole > 0 {
                file.seek(SeekFrom::Current(std::mem::take(&mut hole)))?;
            }
            file.write_all(block)?;
        }
        length += filled as u64;
        if filled < buffer.len() {
            if hole > 0 {
                file.set_len(length)?;
            }
            return Ok(length);
        }
    }
}

/// Reads until the buffer is full or the source has ended.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn zeros_take_no_room_and_nothing_is_lost() {
        let mixed: Vec<u8> = (0..40u32)
            .flat_map(|block| vec![if block % 3 == 0 { 7 } else { 0 }; 4096])
            .chain([0; 100])
            .collect();
        let all = vec![0; 9 << 20];
        for content in [&b""[..], b"\0", b"x", &mixed, &mixed[1..], &all] {
            let mut file = tempfile::tempfile().unwrap();
            let length = copy(&mut &*content, &mut file).unwrap();
            assert_eq!(length, content.len() as u64);
            let mut back = Vec::new();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_end(&mut back).unwrap();
            assert!(back == content, "{} bytes", content.len());
            let blocks = file.metadata().unwrap().blocks();
            assert!(content.iter().any(|&b| b != 0) || blocks == 0, "{blocks}");
        }
    }
}
