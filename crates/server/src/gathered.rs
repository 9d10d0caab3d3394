//! What one turn gathers before its commit: rows and history to write, and whom to tell afterwards.

use crate::leader::{Item, Refused, Reply};
use crate::sessions::SessionEnd;
use std::collections::BTreeMap;
use tokio::sync::oneshot;
use windlass_cluster::{Answer, Decision, Effect};
use windlass_model::command::Request;
use windlass_model::id::NodeId;
use windlass_model::row::Change;
use windlass_store::{Batch, HistoryRecord};

/// A reply that waits for the turn's commit.
pub(crate) enum Held {
    Answer {
        request: Box<Request>,
        /// An agent's message has none.
        reply: Option<Reply<Answer>>,
        answer: Box<Result<Answer, Refused>>,
    },
    Session(NodeId, oneshot::Sender<SessionEnd>),
    /// In its place among the others: a session that is opened after it lives on. Its request
    /// stands beside it.
    Disconnect(NodeId),
}

#[derive(Default)]
pub(crate) struct Gathered {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    history: Vec<HistoryRecord>,
    /// Of rows and history, counted generously: a row written twice counts twice.
    bytes: usize,
    pub(crate) effects: Vec<Effect>,
    pub(crate) held: Vec<Held>,
}

impl Gathered {
    /// Whether the next request might not fit. Half is left free: one request's rows and what time
    /// made due are far fewer.
    pub(crate) fn is_full(&self, limits: &windlass_store::Limits) -> bool {
        self.rows.len() >= limits.rows_max / 2
            || self.history.len() >= limits.history_max / 2
            || self.bytes >= limits.bytes_max / 2
    }

    /// A key changed twice in a turn is written once, as it ended.
    pub(crate) fn add(&mut self, decision: Decision) {
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

    /// What is to be written as turn `turn`; `None` when nothing changed.
    pub(crate) fn batch(&mut self, turn: u64) -> Option<Batch> {
        if self.rows.is_empty() && self.history.is_empty() {
            return None;
        }
        Some(Batch {
            turn,
            rows: std::mem::take(&mut self.rows).into_iter().collect(),
            history: std::mem::take(&mut self.history),
        })
    }
}

impl Held {
    /// What is to be decided again when the turn was taken back.
    pub(crate) fn again(self) -> Option<Item> {
        match self {
            Held::Answer { request, reply, .. } => Some(Item::Ask(request, reply)),
            Held::Session(node, reply) => Some(Item::OpenSession(node, reply)),
            // Comes again with its request.
            Held::Disconnect(_) => None,
        }
    }
}
