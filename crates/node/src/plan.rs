//! The next actions of one task: all that need no observation between them.
//!
//! ```text
//! up:    sandbox ─┐
//!        network ─┼─► start ─► probe …
//!        resolve ─► (waits over) pull ─┘
//! down:  stop (mirror order) ─► all ended ─► remove sandbox ─► remove networks
//! ```
//! What is handed out is marked in the view as under way, so that asking again hands out nothing
//! twice; an [`crate::event::Event`] takes the mark away.

use crate::dependency::{self, Edge, Wait};
use crate::limits::{NEVER_STARTED_EXIT_CODE, STOP_GUARD_MS, STOP_TIMEOUT_S};
use crate::view::{ContainerView, Image, Part, Phase, TaskView, network_per_container};
use windlass_model::container::ContainerDefinition;
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::Millis;
use windlass_model::stop::{ContainerReason, ReasonName, Stop, StopCode, StopReason};

/// Something to do. A number is the container's place in the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    CreateSandbox,
    CreateNetwork(Scope),
    /// Find the image's digest, without reading its layers.
    ResolveImage(usize),
    PullImage(usize),
    StartContainer(usize),
    ProbeHealth(usize),
    /// The stop signal now, and the kill at the stop timeout.
    StopContainer(usize),
    KillContainer(usize),
    /// The containers' cgroups, mounts and folders, too.
    RemoveSandbox,
    RemoveNetwork(Scope),
}

impl Action {
    /// It makes something that only the ledger knows of after a crash, or that must not be made
    /// twice: it is written down before it is done.
    pub fn begins(&self) -> bool {
        match self {
            Action::CreateSandbox | Action::CreateNetwork(_) | Action::StartContainer(_) => true,
            Action::ResolveImage(_)
            | Action::PullImage(_)
            | Action::ProbeHealth(_)
            | Action::StopContainer(_)
            | Action::KillContainer(_)
            | Action::RemoveSandbox
            | Action::RemoveNetwork(_) => false,
        }
    }
}

/// Whose network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Task,
    Container(usize),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// When to ask again though nothing was observed.
    pub next_due: Option<Millis>,
}

/// Decides what to do now and marks it in `view`.
pub fn plan(template: &Template, view: &mut TaskView, now: Millis) -> Plan {
    let edges = dependency::edges(template).unwrap_or_else(|| {
        view.stop(Some(unresolvable()), now);
        vec![Vec::new(); template.containers.len()]
    });
    settle(template, &edges, view, now);
    let mut plan = Plan::default();
    if view.stopping.is_none() {
        go_up(template, &edges, view, now, &mut plan);
    } else {
        go_down(template, &edges, view, now, &mut plan);
    }
    plan
}

impl Plan {
    fn due(&mut self, at: Millis) {
        self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
    }
}

fn unresolvable() -> Stop {
    Stop {
        code: StopCode::TaskFailedToStart,
        reason: StopReason::FailedToStart(ContainerReason::new(
            ReasonName::TaskDependencyError,
            "Task dependencies cannot be resolved",
        )),
    }
}

/// Draws the consequences that need no action, until there are no more.
fn settle(template: &Template, edges: &[Vec<Edge>], view: &mut TaskView, now: Millis) {
    loop {
        let before = (view.all_stopped(), view.stopping.is_some());
        let mut ended = false;
        for at in 0..view.containers.len() {
            ended |= match view.containers[at].phase {
                Phase::Waiting | Phase::Restarting if view.stopping.is_some() => {
                    view.containers[at].end(None, now);
                    true
                }
                Phase::Waiting => end_if_never(template, edges, view, at, now),
                _ => false,
            };
        }
        stop_if_essential_ended(template, view, now);
        if !ended && before == (view.all_stopped(), view.stopping.is_some()) {
            return;
        }
    }
}

fn end_if_never(
    template: &Template,
    edges: &[Vec<Edge>],
    view: &mut TaskView,
    at: usize,
    now: Millis,
) -> bool {
    let never =
        edges[at].iter().find_map(
            |edge| match dependency::wait(template, view, at, *edge, now) {
                Wait::Never(reason) => Some(reason),
                _ => None,
            },
        );
    let Some(reason) = never else {
        return false;
    };
    let container = &mut view.containers[at];
    container.end(Some(reason), now);
    container.exit_code = Some(NEVER_STARTED_EXIT_CODE);
    true
}

/// The end of an essential container ends the task, whatever its exit code; so does the end of the
/// last one.
fn stop_if_essential_ended(template: &Template, view: &mut TaskView, now: Millis) {
    if view.stopping.is_some() {
        return;
    }
    // Several may have ended since the last look: an essential one, the first in time, is the cause.
    let ended = template
        .containers
        .iter()
        .zip(&view.containers)
        .filter(|(_, container)| container.phase == Phase::Stopped)
        .min_by_key(|(definition, container)| (!definition.essential, container.stopped_at))
        .filter(|(definition, _)| definition.essential || view.all_stopped());
    let Some((definition, container)) = ended else {
        return;
    };
    let (stop, at) = (cause(definition, container), container.stopped_at);
    view.stop(Some(stop), at.unwrap_or(now));
}

fn cause(definition: &ContainerDefinition, container: &ContainerView) -> Stop {
    match &container.reason {
        Some(reason) if !container.was_started() => Stop {
            code: StopCode::TaskFailedToStart,
            reason: StopReason::FailedToStart(reason.clone()),
        },
        _ => Stop {
            code: StopCode::EssentialContainerExited,
            reason: StopReason::EssentialContainerExited {
                container: definition.name.to_string(),
            },
        },
    }
}

fn go_up(
    template: &Template,
    edges: &[Vec<Edge>],
    view: &mut TaskView,
    now: Millis,
    plan: &mut Plan,
) {
    if view.sandbox.is_to_make() {
        view.sandbox = Part::Making;
        plan.actions.push(Action::CreateSandbox);
    }
    if template.network() == NetworkMode::Awsvpc && view.network.is_to_make() {
        view.network = Part::Making;
        plan.actions.push(Action::CreateNetwork(Scope::Task));
    }
    for (at, waits) in edges.iter().enumerate() {
        if view.containers[at].phase == Phase::Stopped {
            continue;
        }
        let mut waits_over = true;
        if view.containers[at].phase == Phase::Waiting {
            for edge in waits {
                let wait = dependency::wait(template, view, at, *edge, now);
                waits_over &= wait == Wait::Over;
                if let Wait::Open(Some(due)) = wait {
                    plan.due(due);
                }
            }
        }
        container_up(template, view, at, waits_over, now, plan);
    }
}

fn container_up(
    template: &Template,
    view: &mut TaskView,
    at: usize,
    waits_over: bool,
    now: Millis,
    plan: &mut Plan,
) {
    let definition = &template.containers[at];
    let sandbox = view.sandbox;
    let task_network = view.network;
    let container = &mut view.containers[at];
    if wants_own_network(template, definition) && container.network.is_to_make() {
        container.network = Part::Making;
        plan.actions
            .push(Action::CreateNetwork(Scope::Container(at)));
    }
    let to_start = matches!(container.phase, Phase::Waiting | Phase::Restarting);
    match container.image {
        Image::Unresolved if to_start => {
            container.image = Image::Resolving;
            plan.actions.push(Action::ResolveImage(at));
        }
        // Dependents' layers wait with them; only digests are resolved at once.
        Image::Resolved if to_start && waits_over => {
            container.image = Image::Pulling;
            view.pull_started_at.get_or_insert(now);
            plan.actions.push(Action::PullImage(at));
        }
        _ => {}
    }
    let container = &mut view.containers[at];
    let network_made = match template.network() {
        NetworkMode::Awsvpc => task_network == Part::Made,
        NetworkMode::Bridge => {
            !wants_own_network(template, definition) || container.network == Part::Made
        }
        NetworkMode::Host | NetworkMode::None => true,
    };
    let prepared = sandbox == Part::Made && network_made && container.image == Image::Ready;
    match container.phase {
        Phase::Waiting | Phase::Restarting if prepared && waits_over => {
            container.phase = Phase::Starting;
            plan.actions.push(Action::StartContainer(at));
        }
        Phase::Running => probe(definition, container, at, now, plan),
        _ => {}
    }
}

fn probe(
    definition: &ContainerDefinition,
    container: &mut ContainerView,
    at: usize,
    now: Millis,
    plan: &mut Plan,
) {
    let Some(run_started_at) = container.run_started_at else {
        return;
    };
    match container
        .health
        .due(definition.health_check.as_ref(), run_started_at)
    {
        Some(due) if due <= now => {
            container.health.probing = true;
            plan.actions.push(Action::ProbeHealth(at));
        }
        Some(due) => plan.due(due),
        None => {}
    }
}

fn go_down(
    template: &Template,
    edges: &[Vec<Edge>],
    view: &mut TaskView,
    now: Millis,
    plan: &mut Plan,
) {
    let is_late = match view.kill_due {
        Some(due) if due > now => {
            plan.due(due);
            false
        }
        due => due.is_some(),
    };
    for at in 0..view.containers.len() {
        let container = &mut view.containers[at];
        if is_late && container.phase == Phase::Running && container.kill_begun.is_none() {
            // Nobody waits any more for who depends on it.
            container.stop_begun.get_or_insert(now);
            container.stop_retry_at = None;
            container.kill_begun = Some(now);
            plan.actions.push(Action::KillContainer(at));
            plan.due(now.plus_ms(STOP_GUARD_MS));
        } else if view.containers[at].phase == Phase::Running
            && dependency::may_stop(edges, view, at)
        {
            container_down(
                &template.containers[at],
                &mut view.containers[at],
                at,
                now,
                plan,
            );
        }
    }
    if view.all_stopped() {
        remove(view, now, plan);
    }
}

fn container_down(
    definition: &ContainerDefinition,
    container: &mut ContainerView,
    at: usize,
    now: Millis,
    plan: &mut Plan,
) {
    if let Some(retry_at) = container.stop_retry_at {
        if now < retry_at {
            return plan.due(retry_at);
        }
        container.stop_retry_at = None;
        container.stop_begun = None;
    }
    let Some(begun) = container.stop_begun else {
        container.stop_begun = Some(now);
        plan.actions.push(Action::StopContainer(at));
        plan.due(now.plus_ms(guard_ms(definition)));
        return;
    };
    let due = match container.kill_begun {
        None => begun.plus_ms(guard_ms(definition)),
        Some(killed) => killed.plus_ms(STOP_GUARD_MS),
    };
    if due > now {
        return plan.due(due);
    }
    container.kill_begun = Some(now);
    plan.actions.push(Action::KillContainer(at));
    plan.due(now.plus_ms(STOP_GUARD_MS));
}

fn guard_ms(definition: &ContainerDefinition) -> i64 {
    let timeout_s = definition.stop_timeout_s.unwrap_or(STOP_TIMEOUT_S);
    i64::from(timeout_s) * 1_000 + STOP_GUARD_MS
}

/// Processes first: a namespace, an address or a port is free only when nobody can use it.
fn remove(view: &mut TaskView, now: Millis, plan: &mut Plan) {
    if let Some(retry_at) = view.retry_at {
        if now < retry_at {
            return plan.due(retry_at);
        }
        view.retry_at = None;
    }
    if view.sandbox.is_to_remove() {
        view.sandbox = Part::Removing;
        plan.actions.push(Action::RemoveSandbox);
    }
    if !view.sandbox.is_clear() {
        return;
    }
    if view.network.is_to_remove() {
        view.network = Part::Removing;
        plan.actions.push(Action::RemoveNetwork(Scope::Task));
    }
    for (at, container) in view.containers.iter_mut().enumerate() {
        if container.network.is_to_remove() {
            container.network = Part::Removing;
            plan.actions
                .push(Action::RemoveNetwork(Scope::Container(at)));
        }
    }
}

/// In bridge mode every container has a network of its own, unless it wants none.
pub fn wants_own_network(template: &Template, definition: &ContainerDefinition) -> bool {
    network_per_container(template) && definition.disable_networking != Some(true)
}
