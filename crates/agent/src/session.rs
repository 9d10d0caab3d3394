//! One session with the control plane: assignments and stops come in, reports go out.
//!
//! Messages are marked with the leader's term and turn; an older mark is refused, also after a
//! restart of the agent, because an old leader does not know that it is one.

use crate::agent::Agent;
use crate::limits::{HEARTBEAT_EVERY, PORTS_EVERY, RESEND_AFTER};
use crate::listening;
use crate::reason;
use crate::worker::Message;
use std::collections::BTreeSet;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{MissedTickBehavior, interval};
use windlass_model::id::TaskId;
use windlass_model::instance::Node;
use windlass_model::resources::HostPort;
use windlass_session::{Mark, ToAgent, ToServer};

impl Agent {
    /// Serves one session, to its end: either channel closes. Tasks go on without one; call it
    /// again when the control plane is back. One session at a time; a second one waits.
    pub async fn run(&self, to_server: Sender<ToServer>, mut from_server: Receiver<ToAgent>) {
        let _only = self.session.lock().await;
        let mut ports = listening::ports();
        let node = Node {
            ports_in_use: ports.clone(),
            ..self.node().clone()
        };
        if to_server.send(ToServer::Hello(node)).await.is_err() {
            return;
        }
        let reporter = &self.context().reporter;
        reporter.restart();
        let mut resend = interval(RESEND_AFTER / 5);
        let mut heartbeat = interval(HEARTBEAT_EVERY);
        resend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(PORTS_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, and Hello was said.
        heartbeat.tick().await;
        look.tick().await;
        loop {
            if self.send_reports(&to_server).await.is_err() {
                return;
            }
            let answers = tokio::select! {
                message = from_server.recv() => match message {
                    Some(message) => self.receive(message),
                    None => return,
                },
                () = reporter.changed() => None,
                _ = resend.tick() => None,
                _ = look.tick() => self.changed_ports(&mut ports),
                _ = heartbeat.tick() => {
                    let heartbeat = ToServer::Heartbeat { node: self.node().id };
                    if to_server.send(heartbeat).await.is_err() {
                        return;
                    }
                    Some(self.all_ports(&mut ports))
                }
            };
            if let Some(answer) = answers
                && to_server.send(answer).await.is_err()
            {
                return;
            }
        }
    }

    async fn send_reports(&self, to_server: &Sender<ToServer>) -> Result<(), ()> {
        for observation in self.context().reporter.due() {
            let (node, boot) = (self.node().id, self.node().boot);
            let report = ToServer::Report {
                node,
                boot,
                observation,
            };
            to_server.send(report).await.map_err(|_| ())?;
        }
        Ok(())
    }

    /// Looked at between reports, so that what a task held when it was looked at is told before the
    /// task's end is.
    fn changed_ports(&self, known: &mut BTreeSet<HostPort>) -> Option<ToServer> {
        let ports = listening::ports();
        if ports == *known {
            return None;
        }
        known.clone_from(&ports);
        let node = self.node().id;
        Some(ToServer::PortsInUse { node, ports })
    }

    /// Told again though nothing changed here: the control plane leaves out what tasks held when it
    /// was told, which another program may hold by now, and it cannot write on a full disk.
    fn all_ports(&self, known: &mut BTreeSet<HostPort>) -> ToServer {
        *known = listening::ports();
        ToServer::PortsInUse {
            node: self.node().id,
            ports: known.clone(),
        }
    }

    fn receive(&self, message: ToAgent) -> Option<ToServer> {
        match message {
            ToAgent::Full { mark, assignments } => {
                if !self.accepts(mark) {
                    return None;
                }
                let named: BTreeSet<TaskId> = assignments.iter().map(|a| a.spec.id).collect();
                let unassigned: Vec<TaskId> = self
                    .tasks()
                    .into_iter()
                    .filter(|task| !named.contains(task))
                    .collect();
                assignments
                    .into_iter()
                    .for_each(|assignment| self.assign(assignment));
                let node = self.node().id;
                (!unassigned.is_empty()).then_some(ToServer::Unassigned {
                    node,
                    tasks: unassigned,
                })
            }
            ToAgent::Delta { mark, put, forget } => {
                tracing::debug!(target: "timing", "assignment received");
                if self.accepts(mark) {
                    put.into_iter()
                        .for_each(|assignment| self.assign(assignment));
                    forget
                        .into_iter()
                        .for_each(|task| self.tell(task, Message::Unwanted(None)));
                }
                None
            }
            ToAgent::Acknowledge { task, sequence } => {
                self.context().reporter.acknowledge(task, sequence);
                self.tell(task, Message::Acknowledged(sequence));
                None
            }
            ToAgent::Stop { mark, task, stop } => {
                if self.accepts(mark) {
                    self.tell(task, Message::Unwanted(Some(stop)));
                }
                None
            }
        }
    }

    fn tell(&self, task: TaskId, message: Message) {
        // A task that was forgotten meanwhile needs nothing more.
        let _ = self.context().tell(task, message);
    }

    fn accepts(&self, mark: Mark) -> bool {
        let ledger = &self.context().ledger;
        let newest = ledger.mark();
        if mark < newest {
            tracing::warn!(
                ?mark,
                ?newest,
                "refused a message of an older leader or turn"
            );
            return false;
        }
        if mark > newest
            && let Err(error) = ledger.set_mark(mark)
        {
            tracing::error!(error = reason::chain(&error), "write the newest mark");
        }
        true
    }
}
