//! The messages between server and agent.
//!
//! A session carries one keyed set, the assignments: whole when the agent connects, then numbered
//! deltas. Each message is marked with the leader's term and turn; an agent refuses an older mark.
//! A task missing from the set is never stopped for that: the agent names it, and the server
//! answers with an explicit stop. An agent forgets a task only when its last report is
//! acknowledged as durable.
//!
//! In `windlass up` both ends live in one process and hand over these values; a remote agent gets
//! them encoded. Every field is numbered, and a number is never reused.

use minicbor::{Decode, Encode};
use std::collections::BTreeSet;
use std::sync::Arc;
use windlass_model::definition::TaskDefinition;
use windlass_model::id::{BootId, NodeId, TaskId};
use windlass_model::instance::Node;
use windlass_model::observation::Observation;
use windlass_model::resources::HostPort;
use windlass_model::status::Desired;
use windlass_model::stop::Stop;
use windlass_model::task::TaskSpec;

/// Orders the messages of one region: a later leader has a higher term, a later turn a higher
/// number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Mark {
    #[n(0)]
    pub term: u64,
    #[n(1)]
    pub turn: u64,
}

/// One task given to a node, complete: an agent looks nothing up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub spec: Arc<TaskSpec>,
    pub definition: Arc<TaskDefinition>,
    pub desired: Desired,
    /// Why it is to stop, once `desired` is STOPPED.
    pub stop: Option<Stop>,
    /// It comes from a restored state: a node that does not know it may have ended it already, and
    /// must not start it.
    pub restored: bool,
    /// Sequence of the newest observation that the control plane has: a node that lost its own
    /// count goes on from here, or its reports would be taken for old ones.
    pub reported: u64,
    /// Seconds until what still runs is killed, once `desired` is STOPPED; counted from when the node
    /// first learns of it.
    pub stop_within_s: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToAgent {
    /// Every assignment of the node. Tasks the agent knows and this does not name are reported as
    /// `Unassigned`, not stopped.
    #[n(0)]
    Full {
        #[n(0)]
        mark: Mark,
        #[n(1)]
        assignments: Vec<Assignment>,
    },
    /// What changed since the last message.
    #[n(1)]
    Delta {
        #[n(0)]
        mark: Mark,
        #[n(1)]
        put: Vec<Assignment>,
        /// Durable as STOPPED: the agent forgets them.
        #[n(2)]
        forget: Vec<TaskId>,
    },
    /// The observation with this sequence of this task is durable.
    #[n(2)]
    Acknowledge {
        #[n(0)]
        task: TaskId,
        #[n(1)]
        sequence: u64,
    },
    /// Answer to `Unassigned`: the control plane knows nothing of it, or has it as STOPPED.
    #[n(3)]
    Stop {
        #[n(0)]
        mark: Mark,
        #[n(1)]
        task: TaskId,
        #[n(2)]
        stop: Stop,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToServer {
    /// First message of a session.
    #[n(0)]
    Hello(#[n(0)] Node),
    #[n(1)]
    Report {
        #[n(0)]
        node: NodeId,
        #[n(1)]
        boot: BootId,
        #[n(2)]
        observation: Observation,
    },
    /// Tasks that run here and that no assignment names.
    #[n(2)]
    Unassigned {
        #[n(0)]
        node: NodeId,
        #[n(1)]
        tasks: Vec<TaskId>,
    },
    /// Sent when nothing else was for a while.
    #[n(3)]
    Heartbeat {
        #[n(0)]
        node: NodeId,
    },
    /// Ports of the machine that programs listen on, those of its tasks included. Sent when they
    /// changed, and again after each heartbeat.
    #[n(4)]
    PortsInUse {
        #[n(0)]
        node: NodeId,
        #[n(1)]
        ports: BTreeSet<HostPort>,
    },
}

impl<C> Encode<C> for Assignment {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(7)?;
        self.spec.as_ref().encode(e, ctx)?;
        self.definition.as_ref().encode(e, ctx)?;
        self.desired.encode(e, ctx)?;
        self.stop.encode(e, ctx)?;
        self.restored.encode(e, ctx)?;
        self.reported.encode(e, ctx)?;
        self.stop_within_s.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Assignment {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let members = d.array()?;
        if members.is_none_or(|members| members < 4) {
            return Err(minicbor::decode::Error::message(
                "an assignment has four members",
            ));
        }
        let mut assignment = Assignment {
            spec: Arc::new(TaskSpec::decode(d, ctx)?),
            definition: Arc::new(TaskDefinition::decode(d, ctx)?),
            desired: Desired::decode(d, ctx)?,
            stop: Option::decode(d, ctx)?,
            // Release 0.1.0 had none of these.
            restored: false,
            reported: 0,
            stop_within_s: None,
        };
        let members = members.unwrap_or(4);
        if members > 4 {
            assignment.restored = bool::decode(d, ctx)?;
        }
        if members > 5 {
            assignment.reported = u64::decode(d, ctx)?;
        }
        if members > 6 {
            assignment.stop_within_s = Option::decode(d, ctx)?;
        }
        // Members a later release added.
        for _ in 7..members {
            d.skip()?;
        }
        Ok(assignment)
    }
}
