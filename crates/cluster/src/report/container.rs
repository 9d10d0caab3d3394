//! One container's part of an observation.

use super::cut;
use crate::draft::Draft;
use crate::limits::{BINDINGS_MAX, LAST_LINES_MAX, LINE_CHARS_MAX, OUTPUT_CHARS_MAX};
use windlass_model::history::Event;
use windlass_model::id::TaskId;
use windlass_model::limits::{DIGEST_BYTES_MAX, REASON_CHARS_MAX, RUNTIME_ID_BYTES_MAX};
use windlass_model::observation::ContainerObservation;
use windlass_model::program_fault::{ProgramCause, ProgramFault};
use windlass_model::status::ContainerStatus;
use windlass_model::stop::ContainerReason;
use windlass_model::task::{ContainerState, TaskState};

/// A container that the task does not have is none of its business; one that would move backwards
/// is late.
pub(super) fn merge(task: &mut TaskState, draft: &mut Draft, seen: &ContainerObservation) {
    let id = task.id;
    let now = draft.now();
    let Some(held) = task
        .containers
        .iter_mut()
        .find(|held| held.name == seen.name)
    else {
        return;
    };
    if seen.status < held.status {
        return;
    }
    let moved = held.status.can_become(seen.status);
    evidence(held, seen);
    health(held, draft, id, seen);
    if !moved {
        return;
    }
    held.status = seen.status;
    if seen.status == ContainerStatus::Running && held.started_at.is_none() {
        held.started_at = Some(now);
    }
    if seen.status == ContainerStatus::Stopped {
        held.stopped_at = held.stopped_at.or(Some(now));
    }
    draft.log_task(id, moved_to(held));
    if seen.status == ContainerStatus::Stopped {
        last_lines(draft, id, seen);
    }
}

/// Once, with the container's end: every later report holds them again.
fn last_lines(draft: &mut Draft, task: TaskId, seen: &ContainerObservation) {
    let skipped = seen.last_lines.len().saturating_sub(LAST_LINES_MAX);
    let lines = seen.last_lines.iter().skip(skipped);
    let lines: Vec<String> = lines.map(|line| cut(line, LINE_CHARS_MAX)).collect();
    if !lines.is_empty() {
        let container = seen.name.to_string();
        draft.log_task(task, Event::LastLines { container, lines });
    }
}

/// A container whose task is STOPPED is too, whatever was last heard of it.
pub(super) fn end(task: &mut TaskState, draft: &mut Draft, at: usize) {
    let held = &mut task.containers[at];
    if held.status == ContainerStatus::Stopped {
        return;
    }
    held.status = ContainerStatus::Stopped;
    held.stopped_at = Some(draft.now());
    let event = moved_to(held);
    draft.log_task(task.id, event);
}

/// Facts that never change once known, and those that a restart renews.
fn evidence(held: &mut ContainerState, seen: &ContainerObservation) {
    if let Some(runtime_id) = &seen.runtime_id {
        held.runtime_id = Some(cut(runtime_id, RUNTIME_ID_BYTES_MAX));
    }
    if let Some(digest) = &seen.image_digest {
        held.image_digest = Some(cut(digest, DIGEST_BYTES_MAX));
    }
    if !seen.bindings.is_empty() {
        held.bindings = seen.bindings.iter().take(BINDINGS_MAX).cloned().collect();
    }
    held.started_at = held.started_at.or(seen.started_at);
    held.stopped_at = held.stopped_at.or(seen.stopped_at);
    held.exit_code = held.exit_code.or(seen.exit_code);
    held.oom = held.oom.or(seen.oom);
    held.killed_after_s = held.killed_after_s.or(seen.killed_after_s);
    if held.reason.is_none() {
        held.reason = seen.reason.as_ref().map(bounded);
    }
}

/// A reason as a node gave it, its texts cut.
pub(super) fn bounded(reason: &ContainerReason) -> ContainerReason {
    let cut_text = |text: &str| cut(text, REASON_CHARS_MAX);
    let text = |text: &String| cut_text(text);
    let program = reason.program.as_ref().map(|fault| ProgramFault {
        path: text(&fault.path),
        error: text(&fault.error),
        cause: match &fault.cause {
            ProgramCause::Unknown | ProgramCause::Empty | ProgramCause::NoInterpreterLine => {
                fault.cause.clone()
            }
            ProgramCause::Architecture { program, machine } => ProgramCause::Architecture {
                program: text(program),
                machine: text(machine),
            },
            ProgramCause::Interpreter(path) => ProgramCause::Interpreter(text(path)),
            ProgramCause::CarriageReturn(path) => ProgramCause::CarriageReturn(text(path)),
            ProgramCause::Loader(path) => ProgramCause::Loader(text(path)),
        },
    });
    ContainerReason {
        name: reason.name,
        detail: text(&reason.detail),
        program: program.map(Box::new),
        fault: reason
            .fault
            .as_ref()
            .map(|fault| Box::new(fault.map_texts(cut_text))),
    }
}

fn health(held: &mut ContainerState, draft: &mut Draft, task: TaskId, seen: &ContainerObservation) {
    if let Some(output) = &seen.health_output {
        held.health_output = Some(cut(output, OUTPUT_CHARS_MAX));
    }
    let Some(health) = seen.health.filter(|health| *health != held.health) else {
        return;
    };
    held.health = health;
    let event = Event::Health {
        container: held.name.to_string(),
        health,
        output: held.health_output.clone(),
    };
    draft.log_task(task, event);
}

fn moved_to(held: &ContainerState) -> Event {
    Event::ContainerStatus {
        container: held.name.to_string(),
        to: held.status,
        exit_code: held.exit_code,
        reason: held.reason.clone(),
        oom: held.oom,
        killed_after_s: held.killed_after_s,
    }
}
