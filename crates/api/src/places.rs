//! The places of the front door: how many connections are open, how many bytes their requests hold,
//! and who goes when either runs out.
//!
//! Anybody may open a connection and begin a request, so what strangers take must not keep out who
//! has a key: for a place the connection goes that has been open longest without ever authenticating,
//! for bytes the one of these that holds most. Of those that did, only one that asks nothing, or whose
//! client does not read, ever goes, and only for a place.
//!
//! Whoever comes does not wait for the other to be gone: the faster strangers come, the longer
//! everybody would wait behind them. So for a moment there are some more than there may be, and their
//! number is bounded too.

use crate::connection::Connection;
use crate::limits;
use std::cmp::Reverse;
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
    /// Those that may stay, by the order in which they were opened.
    open: Open,
    /// Those that were told to go, until they are gone.
    going: Open,
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
        let full = state.open.len() >= self.connections_max;
        if full && !state.let_one_go(|open| next_to_go(open, Instant::now())) {
            return None;
        }
        let number = state.opened;
        state.opened += 1;
        let connection = Arc::new(Connection::new(number, peer));
        state.open.insert(number, connection.clone());
        Some(Place {
            places: self.clone(),
            connection,
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        let state = self.lock();
        let all = || state.open.values().chain(state.going.values());
        let authenticated = all().filter(|it| it.is_authenticated()).count();
        Counts {
            authenticated,
            strangers: all().count() - authenticated,
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
        let ceiling = self.bytes_max.saturating_mul(2);
        while !state.has_room(bytes, self.bytes_max) {
            let in_sight = state.bytes.saturating_add(bytes) <= ceiling;
            let may_go = |open: &Open| next_to_give_bytes(open, connection);
            if !in_sight || !state.let_one_go(may_go) {
                return false;
            }
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

type Open = BTreeMap<u64, Arc<Connection>>;

impl State {
    /// Tells one to go. Not when many were told and are not gone yet.
    fn let_one_go(&mut self, choose: impl FnOnce(&Open) -> Option<u64>) -> bool {
        if self.going.len() >= limits::GOING_MAX {
            return false;
        }
        let chosen = choose(&self.open);
        let Some((number, connection)) = chosen.and_then(|it| self.open.remove_entry(&it)) else {
            return false;
        };
        connection.let_go();
        self.going.insert(number, connection);
        self.let_go += 1;
        true
    }

    /// Whether so many more may be held, now or when who was told to go has gone.
    fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        let going = self.going.values().map(|it| it.bytes()).sum();
        let stays = self.bytes.saturating_sub(going);
        stays.saturating_add(bytes) <= bytes_max
            && self.bytes.saturating_add(bytes) <= bytes_max.saturating_mul(2)
    }
}

/// The connection whose place is given to another.
fn next_to_go(open: &Open, now: Instant) -> Option<u64> {
    let stranger = open.iter().find(|(_, it)| !it.is_authenticated());
    let longest = |since: &dyn Fn(&Connection) -> Option<Instant>| {
        let times = open.iter();
        let times = times.filter_map(|(number, connection)| Some((since(connection)?, *number)));
        times.min().map(|(_, number)| number)
    };
    let unread = |connection: &Connection| {
        let since = connection.unread_since()?;
        (now.duration_since(since) >= limits::UNREAD_TIMEOUT).then_some(since)
    };
    stranger
        .map(|(number, _)| *number)
        .or_else(|| longest(&Connection::idle_since))
        .or_else(|| longest(&unread))
}

/// The connection whose requests give their bytes to another's: who asks for little is served beside
/// those who ask for much. Whoever holds most itself waits.
fn next_to_give_bytes(open: &Open, other: &Connection) -> Option<u64> {
    let strangers = open.iter().filter(|(_, it)| !it.is_authenticated());
    let holding = strangers.map(|(number, it)| (it.bytes(), Reverse(*number)));
    let (bytes, Reverse(number)) = holding.max()?;
    (bytes > 0 && number != other.number()).then_some(number)
}

/// The place of one open connection; it is free again when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
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
        let mut state = self.places.lock();
        let number = self.connection.number();
        if state.open.remove(&number).is_none() {
            state.going.remove(&number);
        }
        drop(state);
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

    /// Its signature held. Gives whether it is the first of its connection.
    pub(crate) fn authenticated(&self) -> bool {
        self.connection.authenticated()
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
