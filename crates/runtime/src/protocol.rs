//! What the agent and a shim say to each other on the shim's socket.
//!
//! Scope: frames, message numbers and bodies. Not here: sockets. A frame is a length (4 bytes, big
//! endian) and a CBOR [`Frame`]: an id, a message number and the message's own CBOR. Number and
//! body are apart so that a shim can refuse a message it does not know *by its id* instead of
//! losing the stream: shims outlive the agents that started them, and meet newer ones.
//!
//! Numbers of messages and fields are never used again for something else.
//!
//! A frame may hold environment values, which may be secrets: nothing here that carries a spec has
//! `Debug`, and frames are never logged.

use minicbor::{Decode, Encode};

use crate::spec::{ContainerSpec, ExecSpec, Exit, Oom, SandboxId, SandboxSpec, StartError};
use crate::state::{ContainerState, ExecResult, Started};
use windlass_model::program_fault::ProgramFault;

/// The protocol both sides speak. Raised when a message changes meaning, not when one is added.
pub const VERSION: u32 = 1;

/// Most bytes of one frame after its length. An environment is at most 2 MiB to `execve`.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;

/// The envelope of every message.
#[derive(Encode, Decode)]
pub struct Frame {
    /// Chosen by the agent, repeated in the answer. 0 for what the shim says on its own.
    #[n(0)]
    pub id: u64,
    #[n(1)]
    pub kind: u32,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

/// The stream cannot be read on: the connection has to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error(
        "a frame of {0} bytes is over the limit of {FRAME_BYTES_MAX}; the peer is not a windlass of this kind"
    )]
    TooLong(usize),
    #[error("a frame is not what the protocol says: {0}")]
    Malformed(String),
}

impl Frame {
    /// The bytes for the socket.
    ///
    /// # Errors
    /// [`FrameError::TooLong`]: the message does not fit one frame.
    pub fn bytes(&self) -> Result<Vec<u8>, FrameError> {
        let mut bytes = vec![0; LENGTH_BYTES];
        minicbor::encode(self, &mut bytes).map_err(|e| FrameError::Malformed(e.to_string()))?;
        let length = bytes.len() - LENGTH_BYTES;
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let length = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?;
        bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(bytes)
    }

    /// Takes the first whole frame out of `buffer`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The length is over the limit, known before the bytes arrive, or they are no frame.
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Frame>, FrameError> {
        let Some(head) = buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let Some(bytes) = buffer.get(LENGTH_BYTES..LENGTH_BYTES + length) else {
            return Ok(None);
        };
        let frame = minicbor::decode(bytes).map_err(|e| FrameError::Malformed(e.to_string()));
        buffer.drain(..LENGTH_BYTES + length);
        frame.map(Some)
    }
}

/// What the agent asks.
pub enum Request {
    /// Must be first. The connection that says it is the agent's from now on; an older one is told
    /// [`Push::Replaced`] and closed.
    Hello(Hello),
    /// Binds the shim to its sandbox, once.
    Sandbox(SandboxSpec),
    Start(Box<ContainerSpec>),
    /// The answer comes when the process has ended.
    Exec(Box<ExecSpec>),
    /// The stop signal now, and the whole container killed at its timeout.
    Stop(String),
    Kill(String),
    List,
    /// Kills and removes everything of the sandbox; the shim ends after the answer.
    Remove,
    /// The agent has the events up to and including this number.
    Acknowledge(u64),
}

#[derive(Clone, Debug, Encode, Decode)]
pub struct Hello {
    #[n(0)]
    pub version: u32,
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, Encode, Decode)]
pub struct Greeting {
    #[n(0)]
    pub version: u32,
    #[n(1)]
    pub pid: i32,
    /// None while the shim waits in the pool.
    #[n(2)]
    pub sandbox: Option<SandboxId>,
}

const HELLO: u32 = 1;
const SANDBOX: u32 = 2;
const START: u32 = 3;
const EXEC: u32 = 4;
const STOP: u32 = 5;
const KILL: u32 = 6;
const LIST: u32 = 7;
const REMOVE: u32 = 8;
const ACKNOWLEDGE: u32 = 9;

impl Request {
    /// # Errors
    /// The message does not fit one frame.
    pub fn frame(&self, id: u64) -> Result<Frame, FrameError> {
        let (kind, body) = match self {
            Request::Hello(hello) => (HELLO, body(hello)?),
            Request::Sandbox(spec) => (SANDBOX, body(spec)?),
            Request::Start(spec) => (START, body(spec.as_ref())?),
            Request::Exec(spec) => (EXEC, body(spec.as_ref())?),
            Request::Stop(name) => (STOP, body(name)?),
            Request::Kill(name) => (KILL, body(name)?),
            Request::List => (LIST, Vec::new()),
            Request::Remove => (REMOVE, Vec::new()),
            Request::Acknowledge(sequence) => (ACKNOWLEDGE, body(sequence)?),
        };
        Ok(Frame { id, kind, body })
    }

    /// # Errors
    /// What to answer the agent: the number is unknown, or the body is not that message's.
    pub fn decode(frame: &Frame) -> Result<Request, Refusal> {
        let body = frame.body.as_slice();
        let request = match frame.kind {
            HELLO => minicbor::decode(body).map(Request::Hello),
            SANDBOX => minicbor::decode(body).map(Request::Sandbox),
            START => minicbor::decode(body).map(|spec| Request::Start(Box::new(spec))),
            EXEC => minicbor::decode(body).map(|spec| Request::Exec(Box::new(spec))),
            STOP => minicbor::decode(body).map(Request::Stop),
            KILL => minicbor::decode(body).map(Request::Kill),
            LIST => Ok(Request::List),
            REMOVE => Ok(Request::Remove),
            ACKNOWLEDGE => minicbor::decode(body).map(Request::Acknowledge),
            unknown => return Err(Refusal::UnknownMessage(unknown)),
        };
        // The decoder's own words could quote the body, and a body may hold secrets.
        request.map_err(|_| Refusal::BadMessage(frame.kind))
    }
}

/// What the shim answers.
pub enum Reply {
    Done,
    Greeting(Greeting),
    Started(Started),
    Executed(ExecResult),
    Containers(Vec<ContainerState>),
    /// What could not be removed; empty when all is gone. The shim ends only when it is empty.
    Removed(Vec<String>),
    Refused(Refusal),
}

/// What the shim says unasked.
pub enum Push {
    Exited(Exited),
    /// Another agent has said hello; this connection ends.
    Replaced,
}

/// A container's first process has ended, and everything it wrote is in its log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Exited {
    /// Counts the shim's events from 1, for [`Request::Acknowledge`].
    #[n(0)]
    pub sequence: u64,
    #[n(1)]
    pub container: String,
    /// Which start of the container: 1, 2, …
    #[n(2)]
    pub run: u32,
    #[n(3)]
    pub exit: Exit,
    #[n(4)]
    pub oom: Option<Oom>,
    /// Milliseconds since 1970.
    #[n(5)]
    pub at_ms: u64,
    #[n(6)]
    pub fault: Option<ProgramFault>,
}

const DONE: u32 = 100;
const GREETING: u32 = 101;
const STARTED: u32 = 102;
const EXECUTED: u32 = 103;
const CONTAINERS: u32 = 104;
const REMOVED: u32 = 105;
const REFUSED: u32 = 199;
const EXITED: u32 = 200;
const REPLACED: u32 = 201;

/// Anything that comes from a shim.
pub enum Message {
    Reply(u64, Reply),
    Push(Push),
}

impl Reply {
    /// # Errors
    /// The message does not fit one frame.
    pub fn frame(&self, id: u64) -> Result<Frame, FrameError> {
        let (kind, body) = match self {
            Reply::Done => (DONE, Vec::new()),
            Reply::Greeting(greeting) => (GREETING, body(greeting)?),
            Reply::Started(started) => (STARTED, body(started)?),
            Reply::Executed(result) => (EXECUTED, body(result)?),
            Reply::Containers(containers) => (CONTAINERS, body(containers)?),
            Reply::Removed(errors) => (REMOVED, body(errors)?),
            Reply::Refused(refusal) => (REFUSED, body(refusal)?),
        };
        Ok(Frame { id, kind, body })
    }
}

impl Push {
    /// # Errors
    /// The message does not fit one frame.
    pub fn frame(&self) -> Result<Frame, FrameError> {
        let (kind, body) = match self {
            Push::Exited(exited) => (EXITED, body(exited)?),
            Push::Replaced => (REPLACED, Vec::new()),
        };
        Ok(Frame { id: 0, kind, body })
    }
}

impl Message {
    /// `None` for a number this agent does not know: a newer shim may say more.
    ///
    /// # Errors
    /// The body is not that message's.
    pub fn decode(frame: &Frame) -> Result<Option<Message>, FrameError> {
        let body = frame.body.as_slice();
        let reply = match frame.kind {
            DONE => Ok(Reply::Done),
            GREETING => minicbor::decode(body).map(Reply::Greeting),
            STARTED => minicbor::decode(body).map(Reply::Started),
            EXECUTED => minicbor::decode(body).map(Reply::Executed),
            CONTAINERS => minicbor::decode(body).map(Reply::Containers),
            REMOVED => minicbor::decode(body).map(Reply::Removed),
            REFUSED => minicbor::decode(body).map(Reply::Refused),
            EXITED => {
                return minicbor::decode(body)
                    .map(|exited| Some(Message::Push(Push::Exited(exited))))
                    .map_err(|e| FrameError::Malformed(e.to_string()));
            }
            REPLACED => return Ok(Some(Message::Push(Push::Replaced))),
            _ => return Ok(None),
        };
        reply
            .map(|reply| Some(Message::Reply(frame.id, reply)))
            .map_err(|e| FrameError::Malformed(e.to_string()))
    }
}

/// Why a shim did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    #[n(0)]
    #[error("the shim does not know message {0}; it is of another release than the agent")]
    UnknownMessage(#[n(0)] u32),
    #[n(1)]
    #[error("message {0} is not what the protocol says")]
    BadMessage(#[n(0)] u32),
    #[n(2)]
    #[error("the shim speaks protocol {shim}, the agent {agent}; use the release that started it")]
    Version {
        #[n(0)]
        shim: u32,
        #[n(1)]
        agent: u32,
    },
    #[n(3)]
    #[error("the connection has not said hello")]
    NotGreeted,
    #[n(4)]
    #[error("the shim has no sandbox yet")]
    NoSandbox,
    #[n(5)]
    #[error("the shim already holds sandbox {0}")]
    SandboxExists(#[n(0)] String),
    #[n(6)]
    #[error("{0:?} is not a usable name")]
    BadName(#[n(0)] String),
    #[n(7)]
    #[error("container {0} is not known to the sandbox")]
    NoContainer(#[n(0)] String),
    #[n(8)]
    #[error("container {0} is already running")]
    AlreadyRunning(#[n(0)] String),
    #[n(9)]
    #[error("container {0} is not running")]
    NotRunning(#[n(0)] String),
    #[n(10)]
    #[error("the sandbox holds {limit} {what} already, its limit")]
    TooMany {
        #[n(0)]
        what: String,
        #[n(1)]
        limit: u64,
    },
    #[n(11)]
    #[error(transparent)]
    Start(#[n(0)] StartError),
    #[n(12)]
    #[error("the sandbox is being removed")]
    Removing,
    #[n(13)]
    #[error("the answer does not fit one frame")]
    AnswerTooLong,
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Refusal {
        Refusal::Start(error)
    }
}

fn body<T: Encode<()>>(value: T) -> Result<Vec<u8>, FrameError> {
    minicbor::to_vec(value).map_err(|e| FrameError::Malformed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_wire_in_any_pieces() {
        let bytes = Request::Stop("web".into())
            .frame(7)
            .unwrap()
            .bytes()
            .unwrap();
        let mut buffer = Vec::new();
        for byte in &bytes[..bytes.len() - 1] {
            buffer.push(*byte);
            assert!(Frame::take(&mut buffer).unwrap().is_none());
        }
        buffer.push(bytes[bytes.len() - 1]);
        buffer.extend_from_slice(&bytes);
        for _ in 0..2 {
            let frame = Frame::take(&mut buffer).unwrap().expect("a whole frame");
            assert_eq!(frame.id, 7);
            assert!(matches!(Request::decode(&frame), Ok(Request::Stop(name)) if name == "web"));
        }
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_huge_length_is_refused_before_its_bytes_arrive() {
        let mut buffer = u32::MAX.to_be_bytes().to_vec();
        assert_eq!(
            Frame::take(&mut buffer).err(),
            Some(FrameError::TooLong(u32::MAX as usize))
        );
    }

    #[test]
    fn an_unknown_number_is_refused_by_number() {
        let frame = Frame {
            id: 1,
            kind: 77,
            body: vec![0xff; 3],
        };
        assert_eq!(
            Request::decode(&frame).err(),
            Some(Refusal::UnknownMessage(77))
        );
        let frame = Frame {
            id: 1,
            kind: STOP,
            body: vec![0xff; 3],
        };
        assert_eq!(
            Request::decode(&frame).err(),
            Some(Refusal::BadMessage(STOP))
        );
    }

    #[test]
    fn a_newer_shim_may_say_more() {
        let frame = Frame {
            id: 0,
            kind: 9_999,
            body: Vec::new(),
        };
        assert!(Message::decode(&frame).unwrap().is_none());
    }
}
