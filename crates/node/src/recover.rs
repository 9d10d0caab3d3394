//! What a restarted agent makes of a task it finds in its ledger.
//!
//! The ledger says what may have been under way; what the runtime lists says what happened. A
//! sandbox that answers and does not know a container never started it, so it may be started; one
//! that is gone took its containers with it.

use crate::event::{Ended, Event, observe};
use crate::view::{Image, Part, Phase, TaskView};
use windlass_model::definition::Template;
use windlass_model::id::Millis;
use windlass_model::program_fault::ProgramFault;
use windlass_model::task::OomEvidence;

/// What was found of a task's sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// It does not answer: what it left has to be removed. What is known of its containers; one
    /// that has not ended is lost.
    Dead(Vec<Option<FoundContainer>>),
    /// In the definition's order; `None` was never started.
    Alive(Vec<Option<FoundContainer>>),
}

/// The newest run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundContainer {
    pub run: u32,
    pub started_at: Millis,
    pub stop_begun: bool,
    /// `None` while it runs.
    pub ended: Option<FoundEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEnd {
    pub exit_code: Option<i32>,
    pub oom: Option<OomEvidence>,
    pub at: Millis,
    pub last_lines: Vec<String>,
    pub fault: Option<ProgramFault>,
}

/// Takes the marks of what was under way from `view` and folds in what was found.
///
/// A network that was being made is made again from the start: the agent releases what there is of
/// it first, because its addresses were not written down.
pub fn recover(template: &Template, view: &mut TaskView, found: Found, now: Millis) {
    part(&mut view.network);
    for container in &mut view.containers {
        part(&mut container.network);
        container.health.probing = false;
        container.stop_begun = None;
        container.stop_retry_at = None;
        container.kill_begun = None;
        // What the agent held open of an image it holds no more, so a start to come resolves it
        // again, by the digest it had.
        container.image = Image::Unresolved;
    }
    view.retry_at = None;
    match found {
        Found::Alive(containers) => {
            if view.sandbox != Part::Removing {
                view.sandbox = Part::Made;
            }
            part(&mut view.sandbox);
            for (at, found) in containers.into_iter().enumerate() {
                container(template, view, at, found, now);
            }
        }
        Found::Dead(containers) => {
            // A start is written down before it is tried, so here none can have happened.
            let untouched = view.containers.iter().all(|c| c.phase == Phase::Waiting);
            for (at, found) in containers.into_iter().enumerate() {
                container(template, view, at, found, now);
            }
            match untouched {
                true => unused(template, view, now),
                false => lost(template, view, true, now),
            }
        }
        Found::Nothing => lost(template, view, false, now),
    }
}

/// Being made: nobody knows how far. Being removed: again, it does no harm.
fn part(part: &mut Part) {
    *part = match *part {
        Part::Making => Part::Unknown,
        Part::Removing => Part::Made,
        other => other,
    };
}

fn container(
    template: &Template,
    view: &mut TaskView,
    at: usize,
    found: Option<FoundContainer>,
    now: Millis,
) {
    let Some(state) = view.containers.get_mut(at) else {
        return;
    };
    let Some(found) = found.filter(|found| found.run > state.ended_run) else {
        // The start that the ledger announced did not happen.
        if state.phase == Phase::Starting {
            state.phase = if state.run == 0 {
                Phase::Waiting
            } else {
                Phase::Restarting
            };
        }
        return;
    };
    if state.phase == Phase::Starting {
        let (run, at_ms) = (found.run, found.started_at);
        observe(
            template,
            view,
            Event::Started {
                container: at,
                run,
                at: at_ms,
            },
            now,
        );
    }
    match found.ended {
        Some(end) => {
            let ended = Ended {
                container: at,
                run: found.run,
                exit_code: end.exit_code,
                oom: end.oom,
                at: end.at,
                last_lines: end.last_lines,
                fault: end.fault,
            };
            observe(template, view, Event::Ended(ended), now);
        }
        None if found.stop_begun => view.containers[at].stop_begun = Some(now),
        None => {}
    }
}

/// A sandbox that died before a container was started in it, as one does that is made while the
/// agent dies: making it afresh removes what it left.
fn unused(template: &Template, view: &mut TaskView, now: Millis) {
    if view.stopping.is_none() {
        view.sandbox = Part::Unknown;
    } else {
        lost(template, view, true, now);
    }
}

fn lost(template: &Template, view: &mut TaskView, remains: bool, now: Millis) {
    let was_made = matches!(view.sandbox, Part::Made | Part::Removing);
    let started = view.containers.iter().any(|c| c.phase != Phase::Waiting);
    let fresh_does = !started && view.stopping.is_none();
    match (was_made, remains) {
        (_, true) => view.sandbox = Part::Made,
        (true, false) if fresh_does => view.sandbox = Part::Unknown,
        (true, false) => view.sandbox = Part::Made,
        (false, false) => part(&mut view.sandbox),
    }
    if view.sandbox == Part::Made && !view.all_stopped() {
        observe(template, view, Event::SandboxDied, now);
    }
}
