//! From the bytes of a layer or archive to plain tar: decompression, digest and limits, on a thread
//! of its own.
//!
//! Decompression and hashing of one stream are the bulk of unpacking and cannot be split, so the
//! file system's work happens beside them. The compression is told by the first bytes, not by the
//! media type, which images often get wrong. No program is run: only linked code ever sees the
//! bytes.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::Error;
use crate::limits::{BYTES_BETWEEN_LOOKS, Limits};

const PIECE: usize = 256 << 10;
const PIECES_AHEAD: usize = 8;

/// Runs `consume` on the plain bytes of `source` and returns what it returned, with the digest of
/// all plain bytes. `consume` must read to the end, else there is no digest. `look` is asked now and
/// then whether to go on.
pub(crate) fn with_plain<T>(
    source: impl Read + Send,
    limits: &Limits,
    bytes_max: u64,
    look: &dyn Fn() -> Result<(), Error>,
    consume: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> io::Result<(T, Plain)> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(PIECES_AHEAD);
        let producer = std::thread::Builder::new()
            .name("inflate".to_string())
            .spawn_scoped(scope, move || produce(source, limits, bytes_max, &sender))?;
        let mut pieces = Pieces {
            receiver: Some(receiver),
            piece: Vec::new(),
            at: 0,
            look,
            until_look: 0,
        };
        let consumed = consume(&mut pieces);
        // Ends a producer that still has something to say after a refused entry.
        pieces.receiver = None;
        let produced = producer
            .join()
            .map_err(|_| io::Error::other("decompression broke off"))?;
        Ok((consumed?, produced?))
    })
}

/// What is known of a stream after its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain {
    /// Of all uncompressed bytes, padding at the end included: a layer's diff id.
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

fn produce(
    source: impl Read,
    limits: &Limits,
    bytes_max: u64,
    sender: &SyncSender<io::Result<Vec<u8>>>,
) -> io::Result<Plain> {
    let failed = |error: io::Error| {
        // The consumer reports the cause; what is returned here is seen only if it did not.
        let copy = io::Error::new(error.kind(), error.to_string());
        let _ = sender.send(Err(error));
        copy
    };
    let mut plain = decoder(source, limits).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut bytes = 0u64;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let n = plain
            .by_ref()
            .take(PIECE as u64)
            .read_to_end(&mut piece)
            .map_err(failed)?;
        if n == 0 {
            return Ok(Plain {
                digest: Digest::from_hasher(hasher),
                bytes,
            });
        }
        bytes = bytes.saturating_add(n as u64);
        if bytes > bytes_max {
            let what = "the number of uncompressed bytes".to_string();
            let limit = limits.image_bytes;
            return Err(failed(io::Error::other(Error::Limit { what, limit })));
        }
        hasher.update(&piece);
        if sender.send(Ok(piece)).is_err() {
            return Err(io::Error::other("the layer was not read to its end"));
        }
    }
}

fn decoder<'a>(source: impl Read + 'a, limits: &Limits) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(PIECE, source);
    // A short first read is possible, an empty one means an empty stream.
    let start: [u8; 4] = {
        let bytes = source.fill_buf()?;
        std::array::from_fn(|i| bytes.get(i).copied().unwrap_or_default())
    };
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(limits.zstd_window_log)?;
            Box::new(decoder)
        }
        [0xfd, b'7', b'z', b'X'] | [b'B', b'Z', b'h', _] => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it is compressed with xz or bzip2; only gzip, zstd and plain tar are read",
            ));
        }
        _ => Box::new(source),
    })
}

/// The consumer's end of the stream.
struct Pieces<'a> {
    receiver: Option<Receiver<io::Result<Vec<u8>>>>,
    piece: Vec<u8>,
    at: usize,
    look: &'a dyn Fn() -> Result<(), Error>,
    until_look: u64,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Some(Ok(piece)) = self.receiver.as_ref().map(Receiver::recv) else {
                return Ok(0);
            };
            self.piece = piece?;
            self.at = 0;
            let length = self.piece.len() as u64;
            match self.until_look.checked_sub(length) {
                Some(left) => self.until_look = left,
                None => {
                    (self.look)().map_err(io::Error::other)?;
                    self.until_look = BYTES_BETWEEN_LOOKS;
                }
            }
        }
        let n = buffer.len().min(self.piece.len() - self.at);
        buffer[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
