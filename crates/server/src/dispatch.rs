//! What a turn's committed changes mean for agents: one message an agent and turn.

use crate::sessions::Sessions;
use std::collections::{BTreeMap, BTreeSet};
use windlass_cluster::{Effect, State};
use windlass_model::id::{NodeId, TaskId};
use windlass_model::stop::Stop;
use windlass_session::{Assignment, Mark, ToAgent};

#[derive(Default)]
struct ForNode {
    full: bool,
    assign: BTreeSet<TaskId>,
    forget: BTreeSet<TaskId>,
    acknowledge: Vec<(TaskId, u64)>,
    stop: Vec<(TaskId, Stop)>,
}

/// Sends what `effects` mean, read from the state as committed.
pub(crate) fn dispatch(sessions: &mut Sessions, state: &State, mark: Mark, effects: Vec<Effect>) {
    let mut nodes: BTreeMap<NodeId, ForNode> = BTreeMap::new();
    for effect in effects {
        match effect {
            Effect::Full { node } => nodes.entry(node).or_default().full = true,
            Effect::Assign { node, task } => {
                nodes.entry(node).or_default().assign.insert(task);
            }
            Effect::Forget { node, task } => {
                nodes.entry(node).or_default().forget.insert(task);
            }
            Effect::Acknowledge {
                node,
                task,
                sequence,
            } => {
                nodes
                    .entry(node)
                    .or_default()
                    .acknowledge
                    .push((task, sequence));
            }
            Effect::Stop { node, task, stop } => {
                nodes.entry(node).or_default().stop.push((task, stop));
            }
        }
    }
    for (node, wanted) in nodes {
        for message in messages(state, mark, node, wanted) {
            sessions.send(node, message);
        }
    }
}

fn messages(state: &State, mark: Mark, node: NodeId, wanted: ForNode) -> Vec<ToAgent> {
    let mut messages = Vec::new();
    for (task, sequence) in wanted.acknowledge {
        messages.push(ToAgent::Acknowledge { task, sequence });
    }
    if wanted.full {
        let assignments = state
            .assignments(node)
            .into_iter()
            .map(assignment)
            .collect();
        messages.push(ToAgent::Full { mark, assignments });
    }
    // A whole set says it all, but for what it cannot name.
    if !wanted.full && !wanted.assign.is_empty() || !wanted.forget.is_empty() {
        let put = wanted
            .assign
            .iter()
            .filter(|_| !wanted.full)
            .filter_map(|task| state.assignment(*task))
            .map(assignment)
            .collect();
        let forget = wanted.forget.into_iter().collect();
        messages.push(ToAgent::Delta { mark, put, forget });
    }
    for (task, stop) in wanted.stop {
        messages.push(ToAgent::Stop { mark, task, stop });
    }
    messages
}

fn assignment(view: windlass_cluster::TaskView) -> Assignment {
    Assignment {
        desired: view.state.desired,
        stop: view.state.stop.clone(),
        restored: view.state.restored_at.is_some(),
        reported: view.state.reported.unwrap_or(0),
        stop_within_s: view.state.stop_within_s,
        spec: view.spec,
        definition: view.definition,
    }
}
