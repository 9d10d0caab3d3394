//! Report: merges one observation of a task into its state.
//!
//! Messages may be lost, late, repeated and reordered, so merging only ever goes forward: statuses
//! by their table, times set once, the first cause of a stop kept. A container that the observation
//! does not name has no news. Elsewhere: what a node does next (`node`).

use crate::decision::{Answer, Effect};
use crate::draft::Draft;
use crate::limits::{LINE_CHARS_MAX, NOTES_PER_REPORT_MAX};
use crate::stop;
use crate::unassigned::stray;
use crate::view::TaskView;
use std::sync::Arc;
use windlass_model::command::Report;
use windlass_model::definition::TaskDefinition;
use windlass_model::history::Event;
use windlass_model::id::{Name, NodeId};
use windlass_model::limits::REASON_CHARS_MAX;
use windlass_model::observation::{AttachmentObservation, Observation};
use windlass_model::row::Row;
use windlass_model::status::{AttachmentStatus, ContainerStatus, TaskStatus};
use windlass_model::stop::{Stop, StopCode, StopReason};
use windlass_model::task::TaskState;

mod container;

pub(crate) fn decide(draft: &mut Draft, report: &Report) -> Answer {
    let (node, seen) = (report.node, &report.observation);
    let now = draft.now();
    if let Some(heard) = draft.state.heard.get_mut(&node) {
        *heard = now;
    }
    // Whatever becomes of it, the agent need not send it again.
    draft.effect(Effect::Acknowledge {
        node,
        task: seen.task,
        sequence: seen.sequence,
    });
    let view = draft.state.task_view(seen.task);
    let view = view.filter(|view| view.spec.node == node && view.spec.boot == report.boot);
    match view {
        Some(view) if view.state.last != TaskStatus::Stopped => {
            if view
                .state
                .reported
                .is_none_or(|newest| newest < seen.sequence)
            {
                merge(draft, &view, seen);
            }
        }
        _ => stray_task(draft, node, seen),
    }
    Answer::Done
}

/// A task that this node should not have, or that is STOPPED already.
fn stray_task(draft: &mut Draft, node: NodeId, seen: &Observation) {
    let task = seen.task;
    draft.effect(match seen.status {
        TaskStatus::Stopped => Effect::Forget { node, task },
        _ => Effect::Stop {
            node,
            task,
            stop: stray(),
        },
    });
}

fn merge(draft: &mut Draft, view: &TaskView, seen: &Observation) {
    let old = &view.state;
    let mut task = TaskState::clone(old);
    for observed in &seen.containers {
        container::merge(&mut task, draft, observed);
    }
    times(&mut task, draft, &view.definition, seen);
    if let Some(attachment) = &seen.attachment {
        merge_attachment(&mut task, attachment);
    }
    if let Some(cause) = cause(&task, &view.definition, seen) {
        let wanted = stop::want(&mut task, draft, &cause);
        // The node did not say so itself, so it may not know.
        if wanted && seen.stop.is_none() {
            draft.effect(Effect::Assign {
                node: view.spec.node,
                task: task.id,
            });
        }
    }
    move_task(&mut task, draft, seen.status);

    task.out_of_reach = seen.out_of_reach && task.last != TaskStatus::Stopped;
    if task != **old {
        task.version += 1;
    }
    notes(&mut task, draft, seen);
    // Written even without news: an older one that comes later must be known as such.
    task.reported = Some(seen.sequence);
    let stopped = task.last == TaskStatus::Stopped;
    draft.put(Row::TaskState(Arc::new(task)));
    if stopped {
        draft.effect(Effect::Forget {
            node: view.spec.node,
            task: seen.task,
        });
    }
}

/// Each goes into the history once, though every later report has it too.
fn notes(task: &mut TaskState, draft: &mut Draft, seen: &Observation) {
    let known = usize::try_from(task.notes).unwrap_or(usize::MAX);
    for note in seen.notes.iter().take(NOTES_PER_REPORT_MAX).skip(known) {
        draft.log_task(task.id, Event::Note(cut(note, LINE_CHARS_MAX)));
        task.notes = task.notes.saturating_add(1);
    }
}

fn times(task: &mut TaskState, draft: &Draft, definition: &TaskDefinition, seen: &Observation) {
    task.connected_at = task.connected_at.or(Some(draft.now()));
    task.pull_started_at = task.pull_started_at.or(seen.pull_started_at);
    // The last pull's end: it moves on as containers finish theirs.
    task.pull_stopped_at = task.pull_stopped_at.max(seen.pull_stopped_at);
    let essential_stopped = || {
        let mut containers = definition.template.containers.iter().zip(&task.containers);
        let stopped = containers.find(|(container, state)| {
            container.essential && state.status == ContainerStatus::Stopped
        });
        stopped.and_then(|(_, state)| state.stopped_at)
    };
    task.execution_stopped_at = task
        .execution_stopped_at
        .or(seen.execution_stopped_at)
        .or_else(essential_stopped);
}

fn merge_attachment(task: &mut TaskState, seen: &AttachmentObservation) {
    let Some(held) = &mut task.attachment else {
        return;
    };
    held.status = held.status.max(seen.status);
    let keep = |held: &mut Option<String>, seen: &Option<String>| {
        if let Some(seen) = seen {
            *held = Some(cut(seen, LINE_CHARS_MAX));
        }
    };
    keep(&mut held.interface_id, &seen.interface_id);
    keep(&mut held.mac, &seen.mac);
    keep(&mut held.private_dns_name, &seen.private_dns_name);
    keep(&mut held.private_ipv4, &seen.private_ipv4);
}

/// Why the task ends: as the node says, else as the containers show.
fn cause(task: &TaskState, definition: &TaskDefinition, seen: &Observation) -> Option<Stop> {
    if let Some(stop) = &seen.stop {
        return Some(bounded(stop));
    }
    let mut containers = definition.template.containers.iter().zip(&task.containers);
    let ended = containers
        .find(|(container, state)| container.essential && state.status == ContainerStatus::Stopped);
    match ended {
        Some((_, state)) if state.started_at.is_none() && state.exit_code.is_none() => {
            let reason = state.reason.clone().map(StopReason::FailedToStart);
            reason.map(|reason| Stop {
                code: StopCode::TaskFailedToStart,
                reason,
            })
        }
        Some((container, _)) => Some(Stop {
            code: StopCode::EssentialContainerExited,
            reason: StopReason::EssentialContainerExited {
                container: container.name.to_string(),
            },
        }),
        None => None,
    }
    // A node that ends a task for no reason it can name still ends it.
    .or_else(|| (seen.status > TaskStatus::Running).then(stray))
}

fn move_task(task: &mut TaskState, draft: &mut Draft, to: TaskStatus) {
    if !task.last.can_become(to) {
        return;
    }
    if to == TaskStatus::Stopped {
        end(task, draft);
        return;
    }
    draft.log_task(
        task.id,
        Event::TaskStatus {
            from: task.last,
            to,
        },
    );
    task.last = to;
    if to >= TaskStatus::Running {
        started(task);
    }
    if to == TaskStatus::Running && task.started_at.is_none() {
        task.started_at = Some(draft.now());
    }
}

/// A task has started when its last container has. It may have been so short that RUNNING itself
/// was never reported.
fn started(task: &mut TaskState) {
    let times = task.containers.iter().map(|container| container.started_at);
    let last = times
        .collect::<Option<Vec<_>>>()
        .and_then(|times| times.into_iter().max());
    task.started_at = task.started_at.or(last);
}

/// Moves a task to STOPPED, all its containers with it: none is left that could report.
pub(crate) fn end(task: &mut TaskState, draft: &mut Draft) {
    let now = draft.now();
    for at in 0..task.containers.len() {
        container::end(task, draft, at);
    }
    started(task);
    if let Some(attachment) = &mut task.attachment {
        attachment.status = AttachmentStatus::Deleted.max(attachment.status);
    }
    if task.started_at.is_some() {
        task.execution_stopped_at = task.execution_stopped_at.or(Some(now));
    }
    draft.log_task(
        task.id,
        Event::TaskStatus {
            from: task.last,
            to: TaskStatus::Stopped,
        },
    );
    task.last = TaskStatus::Stopped;
    task.stopped_at = Some(now);
}

/// A stop as a node gave it, its texts cut.
fn bounded(stop: &Stop) -> Stop {
    let reason = match stop.reason.clone() {
        StopReason::FailedToStart(reason) => StopReason::FailedToStart(container::bounded(&reason)),
        StopReason::EssentialContainerExited { container } => {
            StopReason::EssentialContainerExited {
                container: cut(&container, Name::LENGTH_MAX),
            }
        }
        StopReason::User { reason, by } => StopReason::User {
            reason: reason.map(|reason| cut(&reason, REASON_CHARS_MAX)),
            by: cut(&by, REASON_CHARS_MAX),
        },
        other => other,
    };
    Stop {
        code: stop.code,
        reason,
    }
}

/// At most so many characters: what an agent sends is bounded before it is kept.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
