//! One connection of an agent: bytes in, frames out of them, and answers waiting to be written.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::protocol::{Frame, FrameError, Push, Refusal, Reply};

/// An agent that does not read is cut off rather than buffered for without end.
const OUT_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    /// It has said hello: it is the agent's.
    pub(crate) greeted: bool,
    /// Nothing more is read; it is closed when `out` is written.
    pub(crate) ending: bool,
    input: Vec<u8>,
    out: Vec<u8>,
}

/// The connection is of no more use.
pub(crate) struct Broken;

impl Connection {
    pub(crate) fn new(socket: OwnedFd) -> Connection {
        Connection {
            socket,
            greeted: false,
            ending: false,
            input: Vec::new(),
            out: Vec::new(),
        }
    }

    pub(crate) fn wants_write(&self) -> bool {
        !self.out.is_empty()
    }

    /// Reads once and returns the whole frames that came.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> Result<Vec<Frame>, Broken> {
        match rustix::io::read(&self.socket, &mut *scratch) {
            Ok(0) => return Err(Broken),
            Ok(count) => self.input.extend_from_slice(&scratch[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Err(Broken),
        }
        let mut frames = Vec::new();
        while let Some(frame) = Frame::take(&mut self.input).map_err(|_| Broken)? {
            frames.push(frame);
        }
        if self.input.is_empty() {
            self.input.shrink_to(0);
        }
        Ok(frames)
    }

    pub(crate) fn answer(&mut self, id: u64, reply: &Reply) -> Result<(), Broken> {
        let bytes = match reply.frame(id).and_then(|frame| frame.bytes()) {
            Err(FrameError::TooLong(_)) => Reply::Refused(Refusal::AnswerTooLong)
                .frame(id)
                .and_then(|frame| frame.bytes()),
            other => other,
        };
        self.send(&bytes.map_err(|_| Broken)?)
    }

    pub(crate) fn push(&mut self, push: &Push) -> Result<(), Broken> {
        let bytes = push
            .frame()
            .and_then(|frame| frame.bytes())
            .map_err(|_| Broken)?;
        self.send(&bytes)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if self.out.len() + bytes.len() > OUT_BYTES_MAX {
            return Err(Broken);
        }
        self.out.extend_from_slice(bytes);
        self.flush()
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        let mut written = 0;
        let result = loop {
            if written == self.out.len() {
                break Ok(());
            }
            match rustix::io::write(&self.socket, &self.out[written..]) {
                Ok(0) => break Err(Broken),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break Ok(()),
                Err(_) => break Err(Broken),
            }
        };
        self.out.drain(..written);
        if self.out.is_empty() {
            self.out.shrink_to(0);
        }
        result
    }
}
