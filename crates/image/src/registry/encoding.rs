//! Content that a registry, or what stands before it, compressed though nobody asked for that.

use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use tokio::sync::mpsc::Receiver;

use crate::error::{Error, Result};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A manifest, configuration, token or error as it was meant: all are JSON, which begins otherwise
/// than what is compressed.
pub(crate) fn plain_document(what: &str, bytes: Vec<u8>, bytes_max: u64) -> Result<Vec<u8>> {
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    let mut source = MultiGzDecoder::new(bytes.as_slice()).take(bytes_max.saturating_add(1));
    source
        .read_to_end(&mut plain)
        .map_err(|e| Error::read(what, e))?;
    match plain.len() as u64 > bytes_max {
        true => Err(Error::Limit {
            what: format!("the size of {what}"),
            limit: bytes_max,
        }),
        false => Ok(plain),
    }
}

/// Whether a layer's bytes are compressed once more on the way. Storage often says so of layers that
/// are only what they are: then the length is the layer's own.
pub(crate) fn is_wrapped(response: &Response, expected: u64) -> bool {
    let encoding = response.headers().get(CONTENT_ENCODING);
    let encoding = encoding.and_then(|value| value.to_str().ok());
    let is_gzip = encoding.is_some_and(|e| e.eq_ignore_ascii_case("gzip") || e == "x-gzip");
    is_gzip && response.content_length() != Some(expected)
}

/// Writes what arrives as it was meant.
///
/// # Errors
/// Of `into`; [`io::ErrorKind::UnexpectedEof`] when what is wrapped ends too soon.
pub(crate) fn unwrap_into(
    mut pieces: Receiver<Vec<u8>>,
    is_wrapped: bool,
    into: &mut impl Write,
) -> io::Result<()> {
    if is_wrapped {
        let arriving = Arriving {
            pieces,
            piece: Vec::new(),
            at: 0,
        };
        return io::copy(&mut MultiGzDecoder::new(arriving), into).map(drop);
    }
    while let Some(piece) = pieces.blocking_recv() {
        into.write_all(&piece)?;
    }
    Ok(())
}

/// The pieces of a channel, one after the other.
struct Arriving {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.pieces.blocking_recv() {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => return Ok(0),
            }
        }
        let n = self.piece[self.at..].as_ref().read(into)?;
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_on_the_way() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&[b'{'; 1_000]).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(
            plain_document("x", packed.clone(), 1_000).unwrap(),
            [b'{'; 1_000]
        );
        assert!(matches!(
            plain_document("x", packed.clone(), 999),
            Err(Error::Limit { .. })
        ));
        assert!(plain_document("x", packed[..20].to_vec(), 1_000).is_err());
        assert_eq!(plain_document("x", b"{}".to_vec(), 1_000).unwrap(), b"{}");
        for cut in [packed.len(), packed.len() - 1, 12, 3] {
            let (sender, receiver) = tokio::sync::mpsc::channel(100);
            for piece in packed[..cut].chunks(5) {
                sender.try_send(piece.to_vec()).unwrap();
            }
            drop(sender);
            let mut plain = Vec::new();
            let done = unwrap_into(receiver, true, &mut plain);
            assert_eq!(done.is_ok(), cut == packed.len(), "{cut}");
            assert!(done.is_err() || plain == [b'{'; 1_000]);
        }
    }
}
