//! Writes to the store's disk that leave it its reserve.

use std::io::{self, Write};

use crate::error::Result;
use crate::limits::BYTES_BETWEEN_LOOKS;

/// Asks now and then whether what is written may go on.
pub(crate) struct Roomy<'a, W> {
    inner: W,
    look: &'a dyn Fn() -> Result<()>,
    until_look: u64,
}

impl<'a, W: Write> Roomy<'a, W> {
    pub(crate) fn new(inner: W, look: &'a dyn Fn() -> Result<()>) -> Self {
        Self {
            inner,
            look,
            until_look: 0,
        }
    }
}

impl<W: Write> Write for Roomy<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.until_look == 0 {
            (self.look)().map_err(io::Error::other)?;
            self.until_look = BYTES_BETWEEN_LOOKS;
        }
        let written = self.inner.write(bytes)?;
        self.until_look = self.until_look.saturating_sub(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::cell::Cell;

    #[test]
    fn what_is_written_ends_when_there_is_no_room() {
        let has_room = Cell::new(true);
        let look = || match has_room.get() {
            true => Ok(()),
            false => Err(Error::DiskFull {
                free: 1,
                reserve: 2,
            }),
        };
        let mut roomy = Roomy::new(io::sink(), &look);
        let half = vec![0; usize::try_from(BYTES_BETWEEN_LOOKS / 2).unwrap()];
        roomy.write_all(&half).unwrap();
        has_room.set(false);
        roomy.write_all(&half).unwrap();
        assert!(roomy.write_all(b"x").is_err());
    }
}
