//! Who is connected: one bounded queue an agent. An agent that falls behind is cut off; it connects
//! again and gets everything whole.

use crate::limits;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use windlass_model::id::NodeId;
use windlass_session::ToAgent;

/// The agent's end of a session.
pub struct SessionEnd {
    pub from_server: mpsc::Receiver<ToAgent>,
}

pub(crate) struct Sessions {
    queues: BTreeMap<NodeId, mpsc::Sender<ToAgent>>,
}

impl Sessions {
    pub(crate) fn new() -> Sessions {
        Sessions {
            queues: BTreeMap::new(),
        }
    }

    /// A new session replaces the node's old one, whose queue ends.
    pub(crate) fn open(&mut self, node: NodeId) -> SessionEnd {
        let (sender, from_server) = mpsc::channel(limits::SESSION_MESSAGES_MAX);
        self.queues.insert(node, sender);
        SessionEnd { from_server }
    }

    pub(crate) fn send(&mut self, node: NodeId, message: ToAgent) {
        let Some(queue) = self.queues.get(&node) else {
            return; // It gets everything whole when it connects.
        };
        if let Err(err) = queue.try_send(message) {
            tracing::warn!(%node, %err, "agent is behind or gone: its session ends");
            self.queues.remove(&node);
        }
    }

    pub(crate) fn close(&mut self, node: NodeId) {
        self.queues.remove(&node);
    }
}
