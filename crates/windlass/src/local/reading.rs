//! One reader's way through the logs of a task: its containers' records by time, and what comes.
//!
//! However long the logs are and however slow the reader, little of them is in memory: each
//! container has one bounded answer of its log at a time, and nothing is read while nobody takes.

use super::status;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use windlass_agent::Logs;
use windlass_agent::logs::{LogRecord, Reader};
use windlass_api::local::{LogLine, LogQuery};
use windlass_model::id::{Name, TaskId};
use windlass_model::status::TaskStatus;
use windlass_server::Handle;

/// Log lines on their way to one reader.
const LINES_MAX: usize = 64;
/// How soon a followed log is looked at again: after news at once, then less and less often.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

type Sender = mpsc::Sender<io::Result<LogLine>>;

/// The lines that the query asks for, as they are taken. When the server ends, so that there may be
/// more, an error is the last.
pub(super) fn start(
    logs: &Logs,
    leader: Handle,
    mut stop: watch::Receiver<bool>,
    query: &LogQuery,
    containers: Vec<Name>,
) -> mpsc::Receiver<io::Result<LogLine>> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    let sources = containers.into_iter().map(|container| Source {
        logs: logs.clone(),
        task: query.task,
        container,
        tail: query.tail,
        since: query.since.clone(),
        follow: query.follow,
        reader: None,
        is_read: false,
        records: VecDeque::new(),
    });
    let sources: Vec<Source> = sources.collect();
    let (task, follow) = (query.task, query.follow);
    tokio::spawn(async move {
        let reading = async {
            match follow {
                false => pass_on(sources, &sender).await.map(drop),
                true => follow_all(&leader, task, sources, &sender).await,
            }
        };
        let end = tokio::select! {
            end = reading => end,
            // An error says that nobody is left to stop it.
            _ = stop.wait_for(|stop| *stop) => Err(End::Failed(io::Error::other("the server ends"))),
        };
        if let Err(End::Failed(err)) = end {
            tracing::debug!(%err, "the answer of logs is cut");
            // Who does not listen any more misses nothing.
            let _ = sender.send(Err(err)).await;
        }
    });
    receiver
}

/// Why it ends before all is told.
enum End {
    /// Nobody listens.
    Left,
    Failed(io::Error),
}

/// Goes on until the task has stopped and all its words were passed on.
async fn follow_all(
    leader: &Handle,
    task: TaskId,
    mut sources: Vec<Source>,
    sender: &Sender,
) -> Result<(), End> {
    let mut pause = PAUSE_MIN;
    loop {
        // Asked before the read: what was written before the end is still read.
        let ended = status(leader, task)
            .await
            .is_none_or(|view| view.state.last == TaskStatus::Stopped);
        let passed = pass_on(sources, sender).await?;
        let none = passed.count == 0;
        sources = passed.sources;
        if sender.is_closed() || ended && none {
            return Ok(());
        }
        if none {
            // A container that starts only now has nothing before its first line.
            sources.iter_mut().for_each(|source| source.tail = None);
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        } else {
            pause = PAUSE_MIN;
        }
    }
}

struct Passed {
    sources: Vec<Source>,
    count: u64,
}

/// Passes on what is there, the oldest first.
async fn pass_on(mut sources: Vec<Source>, sender: &Sender) -> Result<Passed, End> {
    let mut count = 0_u64;
    sources.iter_mut().for_each(|source| source.is_read = false);
    loop {
        if sources.iter().any(Source::is_empty) {
            sources = fill(sources).await?;
        }
        let Some(line) = oldest(&mut sources) else {
            return Ok(Passed { sources, count });
        };
        sender.send(Ok(line)).await.map_err(|_| End::Left)?;
        count = count.saturating_add(1);
    }
}

/// On a thread that may wait for the disk.
async fn fill(mut sources: Vec<Source>) -> Result<Vec<Source>, End> {
    let work = tokio::task::spawn_blocking(move || {
        let mut empty = sources.iter_mut().filter(|source| source.is_empty());
        empty.try_for_each(Source::fill).map(|()| sources)
    });
    let failed = |err: Box<dyn Error + Send + Sync>| {
        tracing::warn!(err, "a log could not be read");
        End::Failed(io::Error::other(err))
    };
    match work.await {
        Ok(filled) => filled.map_err(|err| failed(err.into())),
        Err(err) => Err(failed(err.into())),
    }
}

/// The oldest of what the containers' logs have next.
fn oldest(sources: &mut [Source]) -> Option<LogLine> {
    let begun = sources.iter_mut().filter(|it| !it.records.is_empty());
    let next = begun.min_by(|a, b| a.next_time().cmp(&b.next_time()))?;
    let record = next.records.pop_front()?;
    Some(LogLine {
        container: next.container.to_string(),
        stream: record.stream,
        timestamp: record.time,
        text: record.text,
        partial: record.partial,
    })
}

/// The log of one container.
struct Source {
    logs: Logs,
    task: TaskId,
    container: Name,
    tail: Option<usize>,
    /// What is older is left out.
    since: Option<String>,
    follow: bool,
    /// None while the container has not started.
    reader: Option<Reader>,
    /// There was nothing more when it was looked at last.
    is_read: bool,
    records: VecDeque<LogRecord>,
}

impl Source {
    fn next_time(&self) -> Option<&str> {
        self.records.front().map(|record| record.time.as_str())
    }

    /// All that was read is passed on, and there may be more.
    fn is_empty(&self) -> bool {
        self.records.is_empty() && !self.is_read
    }

    fn fill(&mut self) -> Result<(), windlass_agent::logs::Error> {
        if self.reader.is_none() {
            match self.logs.open(self.task, &self.container, self.tail) {
                Ok(mut reader) => {
                    if !self.follow {
                        reader.end_at_present();
                    }
                    self.reader = Some(reader);
                }
                // Not there yet: the container has not started.
                Err(windlass_agent::logs::Error::NotFound { .. }) => {}
                Err(err) => return Err(err),
            }
        }
        if let Some(reader) = &mut self.reader {
            self.records = read_since(reader, self.since.as_deref())?;
        }
        self.is_read = self.records.is_empty();
        Ok(())
    }
}

/// The next records of that time or later; none at the end of what is there.
fn read_since(
    reader: &mut Reader,
    since: Option<&str>,
) -> Result<VecDeque<LogRecord>, windlass_agent::logs::Error> {
    loop {
        let mut records: VecDeque<LogRecord> = reader.read()?.into();
        let is_end = records.is_empty();
        if let Some(since) = since {
            records.retain(|record| record.time.as_str() >= since);
        }
        if is_end || !records.is_empty() {
            return Ok(records);
        }
    }
}
