//! The leader's turn.
//!
//! ```text
//! inbox → batch → stamp with now and a seed → decide and apply each → one durable commit
//!       → answer the callers, in turn order → tell the agents
//! ```
//! Nothing leaves before the commit returned. When a commit fails and its outcome is unknown, the
//! leader stops, says why, and the process starts again from the store. When the store says that
//! nothing was written, for want of room on the disk, the turn is taken back, its callers are told,
//! and the leader goes on.

use crate::clock::Clock;
use crate::dispatch::dispatch;
use crate::figures::Figures;
use crate::gathered::{Gathered, Held};
use crate::inbox::{Inbox, NotTaken, Share};
use crate::limits;
use crate::room::Room;
use crate::sessions::{SessionEnd, Sessions};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use windlass_cluster::{Answer, Reject, State, Turn};
use windlass_model::command::{Command, Request};
use windlass_model::history::Entry;
use windlass_model::id::{Millis, NodeId};
use windlass_model::row::{Change, Row, RowError};
use windlass_session::{Mark, ToServer};
use windlass_store::{Snapshot, Store};

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
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
    /// The turn was taken back: the store had no room for it.
    #[error(
        "the disk {disk} of the data folder is full: {free_mib} MiB are free and {need_mib} MiB \
         are needed to write safely; nothing was changed: free some space, then try again"
    )]
    DiskFull {
        disk: String,
        free_mib: u64,
        need_mib: u64,
    },
    /// The turn was taken back: the store takes no such thing.
    #[error("nothing was changed: {0}")]
    Unwritten(String),
    #[error("reading the store: {0}")]
    Store(String),
    /// The leader has stopped.
    #[error("the control plane is stopping")]
    Stopping,
}

impl From<&windlass_store::Error> for Refused {
    /// Of an error after which certainly nothing was written.
    fn from(err: &windlass_store::Error) -> Refused {
        match err {
            windlass_store::Error::Full {
                disk,
                free_bytes,
                need_bytes,
            } => Refused::DiskFull {
                disk: disk.clone(),
                free_mib: free_bytes >> 20,
                need_mib: need_bytes >> 20,
            },
            other => Refused::Unwritten(other.to_string()),
        }
    }
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
    /// From 1. A restore from a backup raises it: agents refuse what is older than they have seen,
    /// and the turns of a backup are.
    pub term: u64,
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Refused>>;

pub(crate) enum Item {
    Ask(Box<Request>, Option<Reply<Answer>>),
    OpenSession(NodeId, oneshot::Sender<SessionEnd>),
    History(String, usize, Reply<Vec<Entry>>),
    Snapshot(Reply<Box<dyn Snapshot>>),
    Room(Reply<()>),
    Figures(oneshot::Sender<Figures>),
}

/// What certainly was not written, and why.
struct TakenBack {
    held: Vec<Held>,
    err: windlass_store::Error,
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
            ToServer::PortsInUse { node, ports } => Command::PortsInUse { node, ports },
        };
        let request = Request {
            caller: String::from("agent"),
            command,
        };
        self.put(Share::Reports, Item::Ask(Box::new(request), None))
    }

    /// Whether there is room for something that adds to the data folder.
    ///
    /// # Errors
    /// [`Refused::DiskLow`] when there is not; else see [`Refused`].
    pub async fn room(&self) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.put(Share::Calls, Item::Room(reply))?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }

    /// Numbers of this moment.
    ///
    /// # Errors
    /// [`Refused::Throttled`] and [`Refused::Stopping`].
    pub async fn figures(&self) -> Result<Figures, Refused> {
        // Before it is asked: its own question is none that waits.
        let (calls_waiting, reports_waiting) = self.inbox.depths();
        let (reply, figures) = oneshot::channel();
        self.put(Share::Calls, Item::Figures(reply))?;
        let figures = figures.await.map_err(|_| Refused::Stopping)?;
        Ok(Figures {
            calls_waiting,
            reports_waiting,
            ..figures
        })
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
        label: &[u8],
        target: &mut dyn std::io::Write,
    ) -> Result<windlass_store::backup::Summary, Refused> {
        windlass_store::backup::write(view, made_ms, label, target)
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
    room: Room,
    history_dropped_at: Option<Millis>,
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
            mark: Mark {
                term: options.term,
                turn,
            },
            room: Room::default(),
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
        if self.room.was_full() {
            return limits::FULL_RETRY_EVERY;
        }
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
            let mut gathered = self.gather(&mut items);
            if !self.room.was_full() {
                gathered.add(windlass_cluster::take_due(&mut self.state));
            }
            if let Some(TakenBack { held, .. }) = self.finish(gathered)? {
                // One by one: what needs no room is answered, and what needs little may find it.
                // The next one too: a step of it may have been taken back.
                let next = items.pop_front();
                for item in held.into_iter().filter_map(Held::again).chain(next) {
                    self.turn_alone(item)?;
                }
            }
            if items.is_empty() {
                return self.drop_old_history();
            }
        }
    }

    /// Takes one item in turns that it shares with nobody.
    fn turn_alone(&mut self, item: Item) -> Result<(), Stopped> {
        let mut items = VecDeque::from([item]);
        while !items.is_empty() {
            let gathered = self.gather(&mut items);
            let Some(TakenBack { held, err }) = self.finish(gathered)? else {
                continue;
            };
            for held in held {
                match held {
                    Held::Answer { request, reply, .. } => self.refuse(*request, reply, &err),
                    held => self.release(held),
                }
            }
            // One whose last step was taken back is given up; its earlier ones are durable.
            for item in items.drain(..) {
                if let Item::Ask(request, reply) = item {
                    self.refuse(*request, reply, &err);
                }
            }
        }
        Ok(())
    }

    /// Begins a turn and decides as many items as it may hold.
    fn gather(&mut self, items: &mut VecDeque<Item>) -> Gathered {
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
        gathered
    }

    /// Commits, and only then answers the callers and tells the agents. Gives back a turn that the
    /// store certainly did not write; the state is then as it was.
    fn finish(&mut self, mut gathered: Gathered) -> Result<Option<TakenBack>, Stopped> {
        tracing::debug!(target: "timing", "turn decided");
        if let Err(err) = self.commit(&mut gathered) {
            if err.outcome_unknown() {
                let turn = self.mark.turn + 1;
                return Err(Stopped::Commit { turn, err });
            }
            tracing::error!(%err, "a turn is taken back");
            self.state.roll_back();
            self.room.found_full();
            let held = gathered.held;
            return Ok(Some(TakenBack { held, err }));
        }
        tracing::debug!(target: "timing", "turn committed");
        for held in gathered.held {
            self.release(held);
        }
        dispatch(&mut self.sessions, &self.state, self.mark, gathered.effects);
        Ok(None)
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
                gathered.held.push(Held::Answer {
                    request,
                    reply,
                    answer: Box::new(answer),
                });
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
            Item::Figures(reply) => {
                let _ = reply.send(Figures {
                    census: self.state.census(),
                    space: self.store.free_space().ok(),
                    turns: self.mark.turn,
                    calls_waiting: 0,
                    reports_waiting: 0,
                });
            }
            Item::Room(reply) => {
                let _ = reply.send(self.room.refuse_when_low(self.store.as_ref()));
            }
        }
        None
    }

    fn decide(&mut self, request: &Request, gathered: &mut Gathered) -> Result<Answer, Refused> {
        if request.command.adds() {
            self.room.refuse_when_low(self.store.as_ref())?;
        }
        let mut decision =
            windlass_cluster::take(&mut self.state, request).map_err(Refused::Rejected)?;
        let answer = std::mem::replace(&mut decision.answer, Answer::Done);
        gathered.add(decision);
        Ok(answer)
    }

    fn commit(&mut self, gathered: &mut Gathered) -> Result<(), windlass_store::Error> {
        let turn = self.mark.turn + 1;
        if let Some(batch) = gathered.batch(turn) {
            self.store.commit(&batch)?;
            self.mark.turn = turn;
        }
        Ok(())
    }

    fn release(&mut self, held: Held) {
        match held {
            Held::Answer { reply, answer, .. } => {
                if let Some(reply) = reply {
                    let _ = reply.send(*answer);
                } else if let Err(err) = *answer {
                    tracing::warn!(%err, "an agent's message was refused");
                }
            }
            Held::Session(node, reply) => {
                let _ = reply.send(self.sessions.open(node));
            }
            Held::Disconnect(node) => self.sessions.close(node),
        }
    }

    /// Tells whoever waits that nothing was written. An agent whose word was lost with it begins
    /// anew: all else it says again by itself.
    fn refuse(
        &mut self,
        request: Request,
        reply: Option<Reply<Answer>>,
        err: &windlass_store::Error,
    ) {
        match (reply, request.command) {
            (Some(reply), _) => {
                let _ = reply.send(Err(Refused::from(err)));
            }
            (None, Command::NodeConnected(node)) => self.sessions.close(node.id),
            (None, Command::Unassigned { node, .. }) => self.sessions.close(node),
            (None, _) => {}
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
        if !due || self.room.was_full() {
            return Ok(());
        }
        let oldest = now.plus_ms(-windlass_model::limits::HISTORY_DAYS * 86_400_000);
        let day = windlass_store::Day::of_ms(oldest.0);
        let turn = self.mark.turn;
        match self.store.drop_history_before(day) {
            Ok(_) => self.history_dropped_at = Some(now),
            Err(err) if err.outcome_unknown() => return Err(Stopped::Commit { turn, err }),
            Err(err) => {
                tracing::error!(%err, "old history stays");
                self.room.found_full();
            }
        }
        Ok(())
    }
}

impl Drop for Leader {
    /// However the leader ends, by a panic too, nobody waits for an answer of it.
    fn drop(&mut self) {
        self.inbox.abandon();
    }
}
