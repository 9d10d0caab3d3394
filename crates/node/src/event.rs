//! What came of an action, or happened by itself, and how it changes the view.
//!
//! Any order is possible: a container may end before the answer to its start arrives, and an event
//! may be told twice. Starts are numbered per container, so both are known.

use crate::limits::{REMOVALS_BEFORE_REPORT, RETRY_MS, STOP_TIMEOUT_S};
use crate::plan::Scope;
use crate::restart;
use crate::view::{ContainerView, Image, Part, Phase, TaskView};
use windlass_model::container::ContainerDefinition;
use windlass_model::container_fault::ContainerFault;
use windlass_model::definition::Template;
use windlass_model::id::Millis;
use windlass_model::program_fault::ProgramFault;
use windlass_model::stop::{ContainerReason, ReasonName, Stop, StopCode, StopReason};
use windlass_model::task::OomEvidence;

/// The exit code of what SIGKILL ended.
const KILLED: i32 = 128 + 9;

/// A number is the container's place in the definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The control plane wants the task stopped.
    StopWanted,
    /// What still runs so many seconds from now is killed.
    StopHurried {
        within_s: u32,
    },
    /// The node ends the task, for a reason of its own.
    StopDecided(Stop),
    SandboxMade,
    SandboxFailed(ContainerReason),
    NetworkMade(Scope),
    NetworkFailed(Scope, ContainerReason),
    /// `local`: all layers are here, nothing has to be pulled.
    ImageResolved {
        container: usize,
        digest: Option<String>,
        local: bool,
    },
    ImagePulled {
        container: usize,
        digest: Option<String>,
    },
    ImageFailed {
        container: usize,
        reason: ContainerReason,
    },
    Started {
        container: usize,
        run: u32,
        at: Millis,
    },
    /// Nothing of it runs.
    StartFailed {
        container: usize,
        reason: ContainerReason,
        exit_code: Option<i32>,
    },
    Ended(Ended),
    Probed {
        container: usize,
        run: u32,
        success: bool,
        output: String,
    },
    /// The stop or kill could not be sent, though the container runs.
    StopFailed {
        container: usize,
    },
    /// The process that held the containers is gone, and they with it.
    SandboxDied,
    SandboxRemoved,
    SandboxNotRemoved(String),
    NetworkRemoved(Scope),
    NetworkNotRemoved(Scope, String),
}

/// One run of a container has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub container: usize,
    pub run: u32,
    /// `None` when nobody knows.
    pub exit_code: Option<i32>,
    pub oom: Option<OomEvidence>,
    pub at: Millis,
    /// The last lines it wrote; kept when it ended abnormally.
    pub last_lines: Vec<String>,
    /// The kernel did not run its program.
    pub fault: Option<ProgramFault>,
}

/// Folds `event` into `view`.
pub fn observe(template: &Template, view: &mut TaskView, event: Event, now: Millis) {
    match event {
        Event::StopWanted => view.stop(None, now),
        Event::StopHurried { within_s } => {
            view.kill_by(now.plus_ms(i64::from(within_s) * 1_000));
        }
        Event::StopDecided(stop) => view.stop(Some(stop), now),
        Event::SandboxMade => made(&mut view.sandbox),
        Event::SandboxFailed(reason) => {
            made(&mut view.sandbox);
            fail(view, reason, now);
        }
        Event::NetworkMade(scope) => made(network(view, scope)),
        Event::NetworkFailed(scope, reason) => {
            made(network(view, scope));
            network_failed(view, scope, reason, now);
        }
        Event::ImageResolved {
            container,
            digest,
            local,
        } => {
            image_resolved(view, container, digest, local, now);
        }
        Event::ImagePulled { container, digest } => {
            let image = &mut view.containers[container];
            image.image = Image::Ready;
            image.image_digest = digest.or(image.image_digest.take());
            view.pull_stopped_at = Some(now);
        }
        Event::ImageFailed { container, reason } => image_failed(view, container, reason, now),
        Event::Started { container, run, at } => started(&mut view.containers[container], run, at),
        Event::StartFailed {
            container,
            reason,
            exit_code,
        } => {
            start_failed(&mut view.containers[container], reason, exit_code, now);
        }
        Event::Ended(ended) => end_run(template, view, ended),
        Event::Probed {
            container,
            run,
            success,
            output,
        } => {
            probed(template, view, (container, run), success, output, now);
        }
        Event::StopFailed { container } => {
            view.containers[container].stop_retry_at = Some(now.plus_ms(RETRY_MS));
        }
        Event::SandboxDied => sandbox_died(view, now),
        Event::SandboxRemoved => view.sandbox = Part::Gone,
        Event::NetworkRemoved(scope) => *network(view, scope) = Part::Gone,
        Event::SandboxNotRemoved(why) => {
            view.sandbox = Part::Made;
            not_removed(
                view,
                format!("the sandbox could not be removed: {why}"),
                now,
            );
        }
        Event::NetworkNotRemoved(scope, why) => {
            *network(view, scope) = Part::Made;
            not_removed(
                view,
                format!("the network could not be removed: {why}"),
                now,
            );
        }
    }
}

fn network(view: &mut TaskView, scope: Scope) -> &mut Part {
    match scope {
        Scope::Task => &mut view.network,
        Scope::Container(at) => &mut view.containers[at].network,
    }
}

fn made(part: &mut Part) {
    if *part == Part::Making {
        *part = Part::Made;
    }
}

/// The task as a whole cannot run.
fn fail(view: &mut TaskView, reason: ContainerReason, now: Millis) {
    let stop = Stop {
        code: StopCode::TaskFailedToStart,
        reason: StopReason::FailedToStart(reason),
    };
    view.stop(Some(stop), now);
}

fn network_failed(view: &mut TaskView, scope: Scope, reason: ContainerReason, now: Millis) {
    match scope {
        Scope::Task => fail(view, reason, now),
        Scope::Container(at) => {
            let container = &mut view.containers[at];
            if container.phase == Phase::Waiting {
                container.end(Some(reason), now);
            }
        }
    }
}

fn image_resolved(
    view: &mut TaskView,
    container: usize,
    digest: Option<String>,
    local: bool,
    now: Millis,
) {
    let image = &mut view.containers[container];
    image.image_digest = digest.or(image.image_digest.take());
    image.image = if local { Image::Ready } else { Image::Resolved };
    // A later run's image is no pull of the task.
    if local && image.phase == Phase::Waiting {
        view.pull_started_at.get_or_insert(now);
        view.pull_stopped_at = Some(now);
    }
}

fn image_failed(view: &mut TaskView, container: usize, reason: ContainerReason, now: Millis) {
    if view.pull_started_at.is_some() {
        view.pull_stopped_at = Some(now);
    }
    let container = &mut view.containers[container];
    container.image = Image::Unresolved;
    // Of one that restarts, the last run's exit code stays.
    if matches!(container.phase, Phase::Waiting | Phase::Restarting) {
        container.end(Some(reason), now);
    }
}

fn started(container: &mut ContainerView, run: u32, at: Millis) {
    // Its end was told first.
    if run <= container.ended_run {
        container.started_at.get_or_insert(at);
        return;
    }
    if container.phase != Phase::Starting {
        return;
    }
    container.phase = Phase::Running;
    container.run = run;
    container.started_at.get_or_insert(at);
    container.run_started_at = Some(at);
    container.health.restart();
}

fn start_failed(
    container: &mut ContainerView,
    reason: ContainerReason,
    exit_code: Option<i32>,
    now: Millis,
) {
    if container.phase != Phase::Starting {
        return;
    }
    container.exit_code = container.exit_code.or(exit_code);
    container.end(Some(reason), now);
}

fn end_run(template: &Template, view: &mut TaskView, ended: Ended) {
    let stopping = view.stopping.is_some();
    let definition = &template.containers[ended.container];
    let container = &mut view.containers[ended.container];
    let live = matches!(container.phase, Phase::Starting | Phase::Running);
    if ended.run <= container.ended_run || !live {
        return;
    }
    if container.phase == Phase::Starting {
        container.started_at.get_or_insert(ended.at);
        container.run_started_at = Some(ended.at);
    }
    container.run = ended.run;
    container.ended_run = ended.run;
    container.exit_code = ended.exit_code;
    container.oom = ended.oom;
    container.killed_after_s = killed_after_s(definition, container, &ended);
    let memory = out_of_memory(&ended);
    let abnormal = ended.exit_code != Some(0);
    container.last_lines = if abnormal {
        ended.last_lines
    } else {
        Vec::new()
    };
    let policy = definition.restart_policy.as_ref();
    let run_started_at = container.run_started_at;
    if restart::is_wanted(policy, stopping, ended.exit_code, run_started_at, ended.at) {
        container.phase = Phase::Restarting;
        container.restarts = container.restarts.saturating_add(1);
        container.health.restart();
        return;
    }
    let reason = memory.or(ended.fault.map(ContainerReason::from));
    container.end(reason, ended.at);
    if definition.essential {
        view.execution_stopped_at.get_or_insert(ended.at);
    }
}

/// The kernel killed the container's own process. Where it was a child, and the container went on
/// and ended in a way of its own, memory is not what it ended of.
fn out_of_memory(ended: &Ended) -> Option<ContainerReason> {
    let killed = ended.exit_code.is_none_or(|code| code == KILLED);
    ended.oom.filter(|_| killed).map(|_| {
        ContainerReason::new(
            ReasonName::OutOfMemoryError,
            "Container killed due to memory usage",
        )
    })
}

/// The time-out of a stop that became a kill. What was killed earlier was killed by others.
fn killed_after_s(
    definition: &ContainerDefinition,
    container: &ContainerView,
    ended: &Ended,
) -> Option<u32> {
    let timeout_s = definition.stop_timeout_s.unwrap_or(STOP_TIMEOUT_S);
    let due = container
        .stop_begun?
        .plus_ms(i64::from(timeout_s).saturating_mul(1_000));
    let killed = ended.exit_code == Some(KILLED) && ended.oom.is_none();
    (killed && ended.at >= due).then_some(timeout_s)
}

fn probed(
    template: &Template,
    view: &mut TaskView,
    (container, run): (usize, u32),
    success: bool,
    output: String,
    now: Millis,
) {
    let check = template.containers[container].health_check.as_ref();
    let container = &mut view.containers[container];
    if container.phase != Phase::Running || container.run != run {
        return;
    }
    let (Some(check), Some(run_started_at)) = (check, container.run_started_at) else {
        return;
    };
    container
        .health
        .count(check, run_started_at, success, output, now);
}

fn sandbox_died(view: &mut TaskView, now: Millis) {
    let reason = ContainerReason::new(
        ReasonName::ContainerRuntimeError,
        "the process that held the task's containers ended; they were killed with it",
    )
    .with_fault(ContainerFault::HolderEnded);
    for container in &mut view.containers {
        if matches!(
            container.phase,
            Phase::Starting | Phase::Running | Phase::Restarting
        ) {
            // The last run of one that was to restart has a code.
            if container.phase != Phase::Restarting {
                container.exit_code = None;
            }
            container.ended_run = container.run;
            container.end(Some(reason.clone()), now);
        }
    }
    // What waits can never start; what ran and is essential was the cause.
    let none_ran = view.containers.iter().all(|c| !c.was_started());
    if none_ran {
        fail(view, reason, now);
    } else if !view.all_stopped() {
        let stop = Stop {
            code: StopCode::TaskFailedToStart,
            reason: StopReason::FailedToStart(reason),
        };
        view.stop(Some(stop), now);
    }
}

fn not_removed(view: &mut TaskView, why: String, now: Millis) {
    view.removal_failures = view.removal_failures.saturating_add(1);
    let pause = i64::from(view.removal_failures.min(REMOVALS_BEFORE_REPORT)) * RETRY_MS;
    view.retry_at = Some(now.plus_ms(pause));
    view.note(why);
}
