//! The places of the front door: how many connections are open, how many bytes their requests hold,
//! and who goes when either runs out.
//!
//! Anybody may open a connection and begin a request, so what strangers take must not keep out who
//! has a key: when something runs out, the connection that has been open longest without ever
//! authenticating goes first. Of those that did, only one that asks nothing, or whose client does not
//! read, ever goes.

use crate::connection::Connection;
use crate::limits;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) struct Places {
    state: Mutex<State>,
    /// A connection ended, or a request gave its bytes back.
    freed: Notify,
    connections_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    /// By the order in which they were opened.
    open: BTreeMap<u64, Arc<Connection>>,
    opened: u64,
    /// What the requests of all of them hold.
    bytes: usize,
    /// How many had to go for another.
    let_go: u64,
}

/// How many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) authenticated: usize,
    pub(crate) strangers: usize,
    pub(crate) bytes: usize,
    pub(crate) let_go: u64,
}

/// The requests of all connections hold as many bytes as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Places {
    pub(crate) fn new(connections_max: usize, bytes_max: usize) -> Arc<Places> {
        Arc::new(Places {
            state: Mutex::default(),
            freed: Notify::new(),
            connections_max,
            bytes_max,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection, for which another may have to go. Waits while nobody may.
    pub(crate) async fn admit(self: &Arc<Self>, peer: SocketAddr) -> Place {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_admit(peer) {
                return place;
            }
            // Who asks nothing any more, or does not read, may go later.
            let _ = tokio::time::timeout(limits::LOOK_AGAIN, freed).await;
        }
    }

    fn try_admit(self: &Arc<Self>, peer: SocketAddr) -> Option<Place> {
        let mut state = self.lock();
        if state.open.len() >= self.connections_max {
            state.let_one_go(|open| next_to_go(open, Instant::now()));
            return None;
        }
        let number = state.opened;
        state.opened += 1;
        let connection = Arc::new(Connection::new(peer));
        state.open.insert(number, connection.clone());
        Some(Place {
            places: self.clone(),
            number,
            connection,
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        let state = self.lock();
        let open = state.open.values();
        let authenticated = open.filter(|it| it.is_authenticated()).count();
        Counts {
            authenticated,
            strangers: state.open.len() - authenticated,
            bytes: state.bytes,
            let_go: state.let_go,
        }
    }

    /// Lets one connection go when the process has no descriptor or memory for another.
    pub(crate) fn make_room(&self) {
        self.lock()
            .let_one_go(|open| next_to_go(open, Instant::now()));
    }

    /// For a request that has come: what it will hold.
    pub(crate) fn held(self: &Arc<Self>, connection: &Arc<Connection>) -> Held {
        Held {
            places: self.clone(),
            connection: connection.clone(),
            bytes: 0,
        }
    }

    fn try_take(&self, bytes: usize, connection: &Connection) -> bool {
        let mut state = self.lock();
        if state.bytes.saturating_add(bytes) > self.bytes_max {
            state.let_one_go(next_to_give_bytes);
            return false;
        }
        state.bytes += bytes;
        connection.add_bytes(bytes);
        true
    }

    fn give_back(&self, bytes: usize, connection: &Connection) {
        self.lock().bytes -= bytes;
        connection.remove_bytes(bytes);
        self.freed.notify_waiters();
    }
}

impl State {
    /// One at a time: who was told to go gives back what it has before another is told.
    fn let_one_go(&mut self, choose: impl Fn(&[&Connection]) -> Option<usize>) {
        let open: Vec<&Connection> = self.open.values().map(Arc::as_ref).collect();
        if open.iter().any(|connection| connection.is_going()) {
            return;
        }
        if let Some(at) = choose(&open) {
            open[at].let_go();
            self.let_go += 1;
        }
    }
}

/// Of connections in the order in which they were opened, the one whose place is given to another.
fn next_to_go(open: &[&Connection], now: Instant) -> Option<usize> {
    let stranger = open.iter().position(|it| !it.is_authenticated());
    let longest = |since: &dyn Fn(&Connection) -> Option<Instant>| {
        let times = open.iter().enumerate();
        let times = times.filter_map(|(at, connection)| Some((since(connection)?, at)));
        times.min().map(|(_, at)| at)
    };
    let unread = |connection: &Connection| {
        let since = connection.unread_since()?;
        (now.duration_since(since) >= limits::UNREAD_TIMEOUT).then_some(since)
    };
    stranger
        .or_else(|| longest(&Connection::idle_since))
        .or_else(|| longest(&unread))
}

/// The same of one whose requests hold bytes that another's need.
fn next_to_give_bytes(open: &[&Connection]) -> Option<usize> {
    open.iter()
        .position(|it| !it.is_authenticated() && it.holds_bytes())
}

/// The place of one open connection; it is free again when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    connection: Arc<Connection>,
}

impl Place {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Deref for Place {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().open.remove(&self.number);
        self.places.freed.notify_waiters();
    }
}

/// What one request holds of the server's memory; given back when this is dropped.
pub(crate) struct Held {
    places: Arc<Places>,
    connection: Arc<Connection>,
    bytes: usize,
}

impl Held {
    /// Takes more, for which the request of a stranger may have to go. Waits a moment for it.
    ///
    /// # Errors
    /// When all that there may be is held by others for longer.
    pub(crate) async fn take(&mut self, bytes: usize) -> Result<(), Full> {
        if bytes > self.places.bytes_max {
            return Err(Full);
        }
        let taken = async {
            loop {
                let freed = self.places.freed.notified();
                if self.places.try_take(bytes, &self.connection) {
                    return;
                }
                freed.await;
            }
        };
        tokio::time::timeout(limits::BYTES_TIMEOUT, taken)
            .await
            .map_err(|_| Full)?;
        self.bytes += bytes;
        Ok(())
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Its signature held.
    pub(crate) fn authenticated(&self) {
        self.connection.authenticated();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.places.give_back(self.bytes, &self.connection);
        }
    }
}

#[cfg(test)]
mod tests;
