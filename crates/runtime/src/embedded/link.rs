//! The agent's end of one shim's socket: questions with answers, and events.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use super::folder::address;
use super::lock;
use crate::protocol::{
    Exited, Frame, FrameError, Greeting, Hello, Message, Push, Refusal, Reply, Request, VERSION,
};
use crate::spec::SandboxId;
use crate::{Error, Event, EventKind};

/// Frames waiting to be written to one shim.
const OUTBOX_FRAMES: usize = 64;
const READ_BYTES: usize = 16 * 1024;
/// How long a shim may take to greet. A fresh one seals itself first.
pub(super) const GREETING_TIME: Duration = Duration::from_secs(20);

/// Takes news; false when nobody listens.
pub(crate) type Tell = Arc<dyn Fn(News) -> bool + Send + Sync>;

pub(crate) enum News {
    Event(Event),
    /// The connection has ended unasked. Whether the shim is dead is another question.
    Lost(SandboxId),
}

pub(crate) struct Link {
    outbox: mpsc::Sender<Vec<u8>>,
    waiting: Mutex<Waiting>,
    /// None while the shim waits in the pool.
    sandbox: Mutex<Option<SandboxId>>,
    /// The shim was told to end: its end is no event.
    ending: AtomicBool,
    closed: watch::Sender<bool>,
    tell: Tell,
}

#[derive(Default)]
struct Waiting {
    last_id: u64,
    answers: BTreeMap<u64, oneshot::Sender<Reply>>,
    closed: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("nobody listens")]
    Dead,
    #[error("no greeting for {} seconds", GREETING_TIME.as_secs())]
    Mute,
    #[error(transparent)]
    Refused(Refusal),
    #[error("{0}")]
    Other(String),
}

impl Link {
    /// Connects and greets. Events arrive at `tell` once the link has a name.
    pub(crate) async fn connect(folder: &Path, tell: Tell) -> Result<Arc<Link>, ConnectError> {
        let stream = dial(folder).await?;
        let peer = stream
            .peer_cred()
            .map_err(|e| ConnectError::Other(e.to_string()))?;
        if peer.uid() != 0 && peer.uid() != rustix::process::geteuid().as_raw() {
            return Err(ConnectError::Other(format!(
                "user {} listens there",
                peer.uid()
            )));
        }
        let (outbox, frames) = mpsc::channel(OUTBOX_FRAMES);
        let link = Arc::new(Link {
            outbox,
            waiting: Mutex::default(),
            sandbox: Mutex::default(),
            ending: AtomicBool::new(false),
            closed: watch::Sender::new(false),
            tell,
        });
        // Whoever gives up waiting leaves no connection behind that nobody knows of.
        let unfinished = Unfinished(Some(link.clone()));
        let (reader, writer) = stream.into_split();
        tokio::spawn(write(writer, frames, link.closed.subscribe()));
        tokio::spawn(link.clone().read(reader));
        let hello = link.exchange(Request::Hello(Hello { version: VERSION }));
        match tokio::time::timeout(GREETING_TIME, hello).await {
            Ok(Ok(Some(Reply::Greeting(_)))) => Ok(unfinished.finish(link)),
            Ok(Ok(Some(Reply::Refused(refusal)))) => {
                Err(link.give_up(ConnectError::Refused(refusal)))
            }
            Ok(Ok(Some(_))) => Err(link.give_up(ConnectError::Other("it does not greet".into()))),
            Ok(Ok(None)) => Err(link.give_up(ConnectError::Dead)),
            Ok(Err(error)) => Err(link.give_up(ConnectError::Other(error.to_string()))),
            Err(_) => Err(link.give_up(ConnectError::Mute)),
        }
    }

    fn give_up(&self, error: ConnectError) -> ConnectError {
        self.close();
        error
    }

    /// The sandbox this shim has, from now on.
    pub(crate) fn name(&self, id: &SandboxId) {
        *lock(&self.sandbox) = Some(id.clone());
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.waiting).closed
    }

    /// The shim is about to be told to end.
    pub(crate) fn expect_end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Ends the connection; the shim goes on when it has a sandbox.
    pub(crate) fn close(&self) {
        self.expect_end();
        self.closed.send_replace(true);
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(
        &self,
        sandbox: &SandboxId,
        request: Request,
        time: Duration,
    ) -> Result<Reply, Error> {
        let sandbox = sandbox.clone();
        match tokio::time::timeout(time, self.exchange(request)).await {
            Ok(Ok(Some(Reply::Refused(Refusal::Start(source))))) => {
                Err(Error::Start { sandbox, source })
            }
            Ok(Ok(Some(Reply::Refused(source)))) => Err(Error::Refused { sandbox, source }),
            Ok(Ok(Some(reply))) => Ok(reply),
            Ok(Ok(None)) => Err(Error::Disconnected(sandbox)),
            Ok(Err(error)) => Err(Error::Host {
                what: format!("ask the shim of sandbox {sandbox}"),
                reason: error.to_string(),
            }),
            Err(_) => Err(Error::Mute {
                sandbox,
                seconds: time.as_secs(),
            }),
        }
    }

    /// `None` when the connection ends first.
    async fn exchange(&self, request: Request) -> Result<Option<Reply>, FrameError> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut waiting = lock(&self.waiting);
            if waiting.closed {
                return Ok(None);
            }
            waiting.last_id += 1;
            let id = waiting.last_id;
            waiting.answers.insert(id, answer);
            id
        };
        let forget = Forget { link: self, id };
        let bytes = request.frame(id)?.bytes()?;
        // The spec may hold secrets; nothing keeps it while its answer is waited for.
        drop(request);
        if self.outbox.send(bytes).await.is_err() {
            return Ok(None);
        }
        let reply = answered.await.ok();
        drop(forget);
        Ok(reply)
    }

    async fn read(self: Arc<Self>, mut reader: OwnedReadHalf) {
        let mut closed = self.closed.subscribe();
        let mut buffer = Vec::new();
        let mut chunk = vec![0; READ_BYTES];
        let mut replaced = false;
        'connection: loop {
            let count = tokio::select! {
                read = reader.read(&mut chunk) => read.unwrap_or(0),
                _ = closed.wait_for(|closed| *closed) => 0,
            };
            if count == 0 {
                break;
            }
            buffer.extend_from_slice(&chunk[..count]);
            loop {
                match Frame::take(&mut buffer)
                    .and_then(|f| f.map(|f| Message::decode(&f)).transpose())
                {
                    Ok(None) => break,
                    Ok(Some(None)) => {}
                    Ok(Some(Some(Message::Reply(id, reply)))) => {
                        // At once: the events behind it are of this sandbox.
                        if let Reply::Greeting(Greeting {
                            sandbox: Some(sandbox),
                            ..
                        }) = &reply
                        {
                            self.name(sandbox);
                        }
                        let answer = lock(&self.waiting).answers.remove(&id);
                        // The asker may have given up.
                        let _ = answer.map(|answer| answer.send(reply));
                    }
                    Ok(Some(Some(Message::Push(Push::Exited(exited))))) => self.exited(exited),
                    Ok(Some(Some(Message::Push(Push::Replaced)))) => replaced = true,
                    Err(error) => {
                        tracing::warn!(%error, "shim speaks nonsense");
                        break 'connection;
                    }
                }
            }
        }
        {
            let mut waiting = lock(&self.waiting);
            waiting.closed = true;
            waiting.answers.clear();
        }
        self.closed.send_replace(true);
        let sandbox = lock(&self.sandbox).clone();
        if let Some(sandbox) = sandbox.filter(|_| !replaced && !self.ending.load(Ordering::Relaxed))
        {
            (self.tell)(News::Lost(sandbox));
        }
    }

    fn exited(&self, exited: Exited) {
        let Some(sandbox) = lock(&self.sandbox).clone() else {
            return;
        };
        let Exited {
            sequence,
            container,
            run,
            exit,
            oom,
            at_ms,
            fault,
        } = exited;
        let kind = EventKind::Exited {
            container,
            run,
            exit,
            oom,
            at_ms,
            fault,
        };
        if (self.tell)(News::Event(Event { sandbox, kind }))
            && let Ok(bytes) = Request::Acknowledge(sequence)
                .frame(0)
                .and_then(|frame| frame.bytes())
        {
            // Not acknowledged is told again: never wrong.
            let _ = self.outbox.try_send(bytes);
        }
    }
}

/// A connection that closes unless it is greeted.
struct Unfinished(Option<Arc<Link>>);

impl Unfinished {
    fn finish(mut self, link: Arc<Link>) -> Arc<Link> {
        self.0 = None;
        link
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.close();
        }
    }
}

/// Takes a question back whose asker is gone.
struct Forget<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.link.waiting).answers.remove(&self.id);
    }
}

async fn dial(folder: &Path) -> Result<UnixStream, ConnectError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty()).map_err(|_| ConnectError::Dead)?;
    use std::os::fd::{AsFd, AsRawFd};
    // The address is made for its check of the length; tokio takes the path.
    address(folder.as_fd()).map_err(|e| ConnectError::Other(e.to_string()))?;
    let path = format!(
        "/proc/self/fd/{}/{}",
        folder.as_raw_fd(),
        crate::shim::SOCKET
    );
    UnixStream::connect(path)
        .await
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound => {
                ConnectError::Dead
            }
            _ => ConnectError::Other(error.to_string()),
        })
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Vec<u8>>,
    mut closed: watch::Receiver<bool>,
) {
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            _ = closed.wait_for(|closed| *closed) => None,
        };
        let Some(bytes) = frame else { return };
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
