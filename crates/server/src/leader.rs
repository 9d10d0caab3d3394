//! The leader's turn.
//!
//! ```text
//! inbox → batch → stamp with now and a seed → decide and apply each → one durable commit
//!       → answer the callers, in turn order → tell the agents
//! ```
//! Nothing leaves before the commit returned. When a commit fails its outcome is unknown: the
//! leader stops, says why, and the process starts again from the store.

use crate::clock::Clock;
use crate::dispatch::dispatch;
use crate::inbox::{Inbox, NotTaken, Share};
use crate::limits;
use crate::sessions::{SessionEnd, Sessions};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use windlass_cluster::{Answer, Decision, Effect, Reject, State, Turn};
use windlass_model::command::{Command, Request};
use windlass_model::history::Entry;
use windlass_model::id::{Millis, NodeId};
use windlass_model::row::{Change, Row, RowError};
use windlass_session::{Mark, ToServer};
use windlass_store::{Batch, HistoryRecord, Snapshot, Store};

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("rejected: {0:?}")]
    Rejected(Reject),
    /// The inbox is full: try again.
    #[error("too many requests wait: try again")]
    Throttled,
    #[error(
        "the disk {disk} of the data folder has {free_mib} MiB free, less than the reserve of \
         {reserve_mib} MiB: free some space; stops and reports still work"
    )]
    DiskLow {
        disk: String,
        free_mib: u64,
        reserve_mib: u64,
    },
    #[error("reading the store: {0}")]
    Store(String),
    /// The leader has stopped.
    #[error("the control plane is stopping")]
    Stopping,
}

/// Why the leader ended.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// Every [`Handle`] asked it to, or none is left.
    #[error("asked to stop")]
    Asked,
    #[error("commit of turn {turn}: its outcome is unknown, start again to read it")]
    Commit {
        turn: u64,
        #[source]
        err: windlass_store::Error,
    },
    #[error("loading the store")]
    Load(#[source] windlass_store::Error),
    #[error("loading the store: {0}")]
    Row(#[from] RowError),
}

pub struct Options {
    pub store: Box<dyn Store>,
    pub clock: Box<dyn Clock>,
}

type Reply<T> = oneshot::Sender<Result<T, Refused>>;

enum Item {
    Ask(Box<Request>, Option<Reply<Answer>>),
    OpenSession(NodeId, oneshot::Sender<SessionEnd>),
    History(String, usize, Reply<Vec<Entry>>),
    Snapshot(Reply<Box<dyn Snapshot>>),
}

/// A way to the leader: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Handle {
    inbox: Arc<Inbox<Item>>,
}

impl Handle {
    /// Asks, and waits for the turn that answers to be durable.
    ///
    /// # Errors
    /// See [`Refused`]; a rejected request changed nothing.
    pub async fn ask(&self, request: Request) -> Result<Answer, Refused> {
        let (reply, answer) = oneshot::channel();
        self.put(Share::Calls, Item::Ask(Box::new(request), Some(reply)))?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }

    /// Opens the session of a node's agent. The agent's Hello, handed in with
    /// [`Handle::receive`], is answered with its whole set of assignments.
    ///
    /// # Errors
    /// [`Refused::Throttled`] and [`Refused::Stopping`].
    pub async fn open_session(&self, node: NodeId) -> Result<SessionEnd, Refused> {
        let (reply, end) = oneshot::channel();
        self.put(Share::Reports, Item::OpenSession(node, reply))?;
        end.await.map_err(|_| Refused::Stopping)
    }

    /// Hands in an agent's message. What is refused here is sent again by the agent.
    ///
    /// # Errors
    /// [`Refused::Throttled`] and [`Refused::Stopping`].
    pub fn receive(&self, message: ToServer) -> Result<(), Refused> {
        let command = match message {
            ToServer::Hello(node) => Command::NodeConnected(Box::new(node)),
            ToServer::Report {
                node,
                boot,
                observation,
            } => Command::Report(Box::new(windlass_model::command::Report {
                node,
                boot,
                observation,
            })),
            ToServer::Unassigned { node, tasks } => Command::Unassigned { node, tasks },
            ToServer::Heartbeat { node } => Command::Heartbeat(node),
        };
        let request = Request {
            caller: String::from("agent"),
            command,
        };
        self.put(Share::Reports, Item::Ask(Box::new(request), None))
    }

    /// The newest entries of a subject's history, newest first.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn history(&self, subject: &str, limit: usize) -> Result<Vec<Entry>, Refused> {
        let (reply, entries) = oneshot::channel();
        self.put(
            Share::Calls,
            Item::History(subject.to_owned(), limit, reply),
        )?;
        entries.await.unwrap_or(Err(Refused::Stopping))
    }

    /// A view of the store as of the last turn, to be read elsewhere: for backups.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn snapshot(&self) -> Result<Box<dyn Snapshot>, Refused> {
        let (reply, snapshot) = oneshot::channel();
        self.put(Share::Calls, Item::Snapshot(reply))?;
        snapshot.await.unwrap_or(Err(Refused::Stopping))
    }

    /// Writes a backup of the state as of the last turn. Blocks while it writes, not the leader.
    ///
    /// # Errors
    /// [`Refused::Store`] when the store is not sound or `target` does not take it.
    pub fn backup(
        view: &dyn Snapshot,
        made_ms: i64,
        target: &mut dyn std::io::Write,
    ) -> Result<windlass_store::backup::Summary, Refused> {
        windlass_store::backup::write(view, made_ms, target)
            .map_err(|err| Refused::Store(err.to_string()))
    }

    /// Asks the leader to finish what it has and stop.
    pub fn stop(&self) {
        self.inbox.close();
    }

    fn put(&self, share: Share, item: Item) -> Result<(), Refused> {
        self.inbox
            .put(share, item)
            .map_err(|not_taken| match not_taken {
                NotTaken::Full => Refused::Throttled,
                NotTaken::Closed => Refused::Stopping,
            })
    }
}

/// The leader itself: [`Leader::open`] loads, [`Leader::run`] takes turns until stopped.
pub struct Leader {
    state: State,
    store: Box<dyn Store>,
    clock: Box<dyn Clock>,
    inbox: Arc<Inbox<Item>>,
    sessions: Sessions,
    mark: Mark,
    space_read_at: Option<Instant>,
    low: Option<(String, u64, u64)>,
    history_dropped_at: Option<Millis>,
}

/// A reply that waits for the turn's commit.
enum Held {
    Answer(Reply<Answer>, Box<Result<Answer, Refused>>),
    Session(NodeId, oneshot::Sender<SessionEnd>),
    /// In its place among the others: a session that is opened after it lives on.
    Disconnect(NodeId),
}

/// What one turn gathers before its commit.
#[derive(Default)]
struct Gathered {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    history: Vec<HistoryRecord>,
    /// Of rows and history, counted generously: a row written twice counts twice.
    bytes: usize,
    effects: Vec<Effect>,
    held: Vec<Held>,
}

impl Leader {
    /// Loads the state from the store.
    ///
    /// # Errors
    /// When the store is damaged, or holds rows of a newer release.
    pub fn open(options: Options) -> Result<(Leader, Handle), Stopped> {
        let mut state = State::new();
        let mut undecodable = None;
        let turn = options
            .store
            .load(&mut |key, value| match Row::decode(key, value) {
                Ok(row) => state.apply(&Change::Put(row)),
                Err(err) => undecodable = undecodable.take().or(Some(err)),
            })
            .map_err(Stopped::Load)?;
        if let Some(err) = undecodable {
            return Err(err.into());
        }
        let inbox = Arc::new(Inbox::new());
        let leader = Leader {
            state,
            store: options.store,
            clock: options.clock,
            inbox: inbox.clone(),
            sessions: Sessions::new(),
            mark: Mark { term: 1, turn },
            space_read_at: None,
            low: None,
            history_dropped_at: None,
        };
        Ok((leader, Handle { inbox }))
    }

    /// Takes turns until stopped. Runs on a thread of its own: a commit blocks.
    pub fn run(mut self) -> Stopped {
        loop {
            let patience = self.patience();
            let Some(batch) = self.inbox.take(patience) else {
                return Stopped::Asked;
            };
            if let Err(stopped) = self.turn(batch) {
                return stopped;
            }
        }
    }

    fn patience(&mut self) -> Duration {
        let now = self.clock.now();
        let due = windlass_cluster::next_due(&self.state).map(|due| due.since(now).max(0));
        due.and_then(|ms| u64::try_from(ms).ok())
            .map_or(limits::IDLE_MAX, |ms| {
                Duration::from_millis(ms).min(limits::IDLE_MAX)
            })
    }

    /// Takes a batch, in as many turns as the store's limits make of it.
    fn turn(&mut self, batch: Vec<Item>) -> Result<(), Stopped> {
        let mut items = VecDeque::from(batch);
        loop {
            self.state.begin(Turn {
                now: self.clock.now(),
                seed: self.clock.seed(),
            });
            let mut gathered = Gathered::default();
            let limits = self.store.limits();
            while !gathered.is_full(&limits) {
                let Some(item) = items.pop_front() else {
                    break;
                };
                // What is not finished goes on first, here or in the next turn.
                if let Some(unfinished) = self.take(item, &mut gathered) {
                    items.push_front(unfinished);
                }
            }
            gathered.add(windlass_cluster::take_due(&mut self.state));
            self.finish(gathered)?;
            if items.is_empty() {
                return self.drop_old_history();
            }
        }
    }

    /// Commits, and only then answers the callers and tells the agents.
    fn finish(&mut self, mut gathered: Gathered) -> Result<(), Stopped> {
        tracing::debug!(target: "timing", "turn decided");
        self.commit(&mut gathered)?;
        tracing::debug!(target: "timing", "turn committed");
        for held in gathered.held {
            self.release(held);
        }
        dispatch(&mut self.sessions, &self.state, self.mark, gathered.effects);
        Ok(())
    }

    /// Decides one item, or a step of one, which it then gives back.
    fn take(&mut self, item: Item, gathered: &mut Gathered) -> Option<Item> {
        match item {
            Item::Ask(request, reply) => {
                let answer = self.decide(&request, gathered);
                if matches!(answer, Ok(Answer::Unfinished)) {
                    return Some(Item::Ask(request, reply));
                }
                if let Command::NodeDisconnected(node) = request.command {
                    gathered.held.push(Held::Disconnect(node));
                }
                if let Some(reply) = reply {
                    gathered.held.push(Held::Answer(reply, Box::new(answer)));
                } else if let Err(err) = answer {
                    tracing::warn!(%err, "an agent's message was refused");
                }
            }
            Item::OpenSession(node, reply) => gathered.held.push(Held::Session(node, reply)),
            Item::History(subject, limit, reply) => {
                // The caller may have gone: nothing is lost with it.
                let _ = reply.send(self.read_history(&subject, limit));
            }
            Item::Snapshot(reply) => {
                let snapshot = self.store.snapshot();
                let _ = reply.send(snapshot.map_err(|err| Refused::Store(err.to_string())));
            }
        }
        None
    }

    fn decide(&mut self, request: &Request, gathered: &mut Gathered) -> Result<Answer, Refused> {
        if request.command.adds() {
            self.refuse_when_low()?;
        }
        let mut decision =
            windlass_cluster::take(&mut self.state, request).map_err(Refused::Rejected)?;
        let answer = std::mem::replace(&mut decision.answer, Answer::Done);
        gathered.add(decision);
        Ok(answer)
    }

    fn refuse_when_low(&mut self) -> Result<(), Refused> {
        let stale = self
            .space_read_at
            .is_none_or(|at| at.elapsed() >= limits::SPACE_READ_EVERY);
        if stale {
            self.space_read_at = Some(Instant::now());
            self.low = match self.store.free_space() {
                Ok(space) => space.is_low().then(|| {
                    (
                        space.disk.clone(),
                        space.free_bytes >> 20,
                        space.reserve_bytes >> 20,
                    )
                }),
                // Not knowing is no reason to refuse: a commit that finds no room says so itself.
                Err(_) => None,
            };
        }
        match &self.low {
            None => Ok(()),
            Some((disk, free_mib, reserve_mib)) => Err(Refused::DiskLow {
                disk: disk.clone(),
                free_mib: *free_mib,
                reserve_mib: *reserve_mib,
            }),
        }
    }

    fn commit(&mut self, gathered: &mut Gathered) -> Result<(), Stopped> {
        if gathered.rows.is_empty() && gathered.history.is_empty() {
            return Ok(());
        }
        let turn = self.mark.turn + 1;
        let batch = Batch {
            turn,
            rows: std::mem::take(&mut gathered.rows).into_iter().collect(),
            history: std::mem::take(&mut gathered.history),
        };
        self.store
            .commit(&batch)
            .map_err(|err| Stopped::Commit { turn, err })?;
        self.mark.turn = turn;
        Ok(())
    }

    fn release(&mut self, held: Held) {
        match held {
            Held::Answer(reply, answer) => {
                let _ = reply.send(*answer);
            }
            Held::Session(node, reply) => {
                let _ = reply.send(self.sessions.open(node));
            }
            Held::Disconnect(node) => self.sessions.close(node),
        }
    }

    fn read_history(&self, subject: &str, limit: usize) -> Result<Vec<Entry>, Refused> {
        let records = self
            .store
            .history(subject, limit)
            .map_err(|err| Refused::Store(err.to_string()))?;
        records
            .iter()
            .map(|record| minicbor::decode(&record.value))
            .collect::<Result<_, _>>()
            .map_err(|err| Refused::Store(err.to_string()))
    }

    fn drop_old_history(&mut self) -> Result<(), Stopped> {
        let now = self.clock.now();
        let due = self
            .history_dropped_at
            .is_none_or(|at| now.since(at) >= limits::HISTORY_DROP_EVERY_MS);
        if !due {
            return Ok(());
        }
        self.history_dropped_at = Some(now);
        let oldest = now.plus_ms(-windlass_model::limits::HISTORY_DAYS * 86_400_000);
        let day = windlass_store::Day::of_ms(oldest.0);
        let turn = self.mark.turn;
        self.store
            .drop_history_before(day)
            .map(drop)
            .map_err(|err| Stopped::Commit { turn, err })
    }
}

impl Drop for Leader {
    /// However the leader ends, by a panic too, nobody waits for an answer of it.
    fn drop(&mut self) {
        self.inbox.abandon();
    }
}

impl Gathered {
    /// Whether the next request might not fit. Half is left free: one request's rows and what time
    /// made due are far fewer.
    fn is_full(&self, limits: &windlass_store::Limits) -> bool {
        self.rows.len() >= limits.rows_max / 2
            || self.history.len() >= limits.history_max / 2
            || self.bytes >= limits.bytes_max / 2
    }

    /// A key changed twice in a turn is written once, as it ended.
    fn add(&mut self, decision: Decision) {
        for change in decision.changes {
            let (key, value) = match change {
                Change::Put(row) => (row.key().encode(), Some(row.encode())),
                Change::Remove(key) => (key.encode(), None),
            };
            self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            self.rows.insert(key, value);
        }
        for entry in decision.history {
            let value = minicbor::to_vec(&entry).expect("writing to memory cannot fail");
            self.bytes += value.len() + entry.subject.len();
            let at_ms = entry.at.0;
            self.history.push(HistoryRecord {
                at_ms,
                value,
                subject: entry.subject,
            });
        }
        self.effects.extend(decision.effects);
    }
}
