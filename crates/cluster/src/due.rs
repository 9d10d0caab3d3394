//! What time alone makes due: silent agents, expired client tokens, STOPPED tasks past their hour
//! or over the bound, deleted clusters past theirs, deleted revisions that no task shows.
//!
//! In small steps, so that a turn stays short; what is left stays due. There are no timers: the
//! state's own times say what is due, and the turn's time says since when.

use crate::decision::{Answer, Decision};
use crate::draft::Draft;
use crate::limits::DUE_PER_STEP_MAX;
use crate::node_disconnected;
use crate::state::State;
use windlass_model::id::{Millis, NodeId};
use windlass_model::limits::{
    AGENT_SILENCE_MS, CLIENT_TOKEN_KEPT_MS, INACTIVE_CLUSTER_KEPT_MS, STOPPED_TASK_KEPT_MS,
    STOPPED_TASKS_KEPT_MAX,
};
use windlass_model::row::Key;

/// Settles some of what is due. Call it again while [`next_due`] is not after the turn's time.
pub fn take_due(state: &mut State) -> Decision {
    let mut draft = Draft::new(state);
    for _ in 0..DUE_PER_STEP_MAX {
        if !step(&mut draft) {
            break;
        }
    }
    draft.finish(Answer::Done)
}

/// When something is due next; a time that has passed means now.
pub fn next_due(state: &State) -> Option<Millis> {
    let index = &state.index;
    if index.stopped.len() > STOPPED_TASKS_KEPT_MAX || index.purgeable_definition().is_some() {
        return Some(state.now);
    }
    let stopped = index
        .stopped
        .first()
        .map(|(at, _)| at.plus_ms(STOPPED_TASK_KEPT_MS));
    let token = index
        .tokens
        .first()
        .map(|(at, _)| at.plus_ms(CLIENT_TOKEN_KEPT_MS));
    let clusters = index.deleted_clusters.first();
    let cluster = clusters.map(|(at, _)| at.plus_ms(INACTIVE_CLUSTER_KEPT_MS));
    let silence = state
        .heard
        .values()
        .min()
        .map(|at| at.plus_ms(AGENT_SILENCE_MS));
    [stopped, token, cluster, silence]
        .into_iter()
        .flatten()
        .min()
}

/// Settles one thing; tells whether there was one.
fn step(draft: &mut Draft) -> bool {
    silent_agent(draft)
        || stopped_task(draft)
        || expired_token(draft)
        || deleted_cluster(draft)
        || deleted_definition(draft)
}

fn silent_agent(draft: &mut Draft) -> bool {
    let now = draft.now();
    let silent = |(_, at): &(&NodeId, &Millis)| at.plus_ms(AGENT_SILENCE_MS) <= now;
    let Some(node) = draft.state.heard.iter().find(silent).map(|(node, _)| *node) else {
        return false;
    };
    node_disconnected::mark(draft, node, false);
    true
}

fn stopped_task(draft: &mut Draft) -> bool {
    let stopped = &draft.state.index.stopped;
    let Some(&(at, task)) = stopped.first() else {
        return false;
    };
    let crowded = stopped.len() > STOPPED_TASKS_KEPT_MAX;
    if !crowded && at.plus_ms(STOPPED_TASK_KEPT_MS) > draft.now() {
        return false;
    }
    draft.remove(Key::TaskState(task));
    draft.remove(Key::TaskSpec(task));
    true
}

fn expired_token(draft: &mut Draft) -> bool {
    let Some((at, token)) = draft.state.index.tokens.first() else {
        return false;
    };
    if at.plus_ms(CLIENT_TOKEN_KEPT_MS) > draft.now() {
        return false;
    }
    let token = token.clone();
    draft.remove(Key::ClientToken(token));
    true
}

fn deleted_cluster(draft: &mut Draft) -> bool {
    let Some((at, name)) = draft.state.index.deleted_clusters.first() else {
        return false;
    };
    if at.plus_ms(INACTIVE_CLUSTER_KEPT_MS) > draft.now() {
        return false;
    }
    let name = name.clone();
    draft.remove(Key::Cluster(name));
    true
}

fn deleted_definition(draft: &mut Draft) -> bool {
    let Some(key) = draft.state.index.purgeable_definition().cloned() else {
        return false;
    };
    draft.remove(Key::DefinitionState(key.clone()));
    draft.remove(Key::Definition(key));
    true
}
