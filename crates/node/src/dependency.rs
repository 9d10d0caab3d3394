//! Which containers wait for which, and whether a wait can still end.
//!
//! `dependsOn` as written; links and `volumesFrom` imply START. Shutdown is the mirror image: a
//! container is stopped only when all that depend on it have stopped.
//! Source: ECS agent, container ordering.

use crate::health;
use crate::view::{ContainerView, Phase, TaskView};
use windlass_model::container::{Condition, ContainerDefinition};
use windlass_model::container_fault::{ContainerFault, DependencyProblem};
use windlass_model::definition::Template;
use windlass_model::id::Millis;
use windlass_model::status::Health;
use windlass_model::stop::{ContainerReason, ReasonName};

/// One wait: on the container at this place of the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub on: usize,
    pub condition: Condition,
}

/// How a wait stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    Over,
    /// Not yet; fails by itself at the time, if there is one.
    Open(Option<Millis>),
    Never(ContainerReason),
}

/// The waits of every container, in the definition's order; `None` when a name is unknown or the
/// waits form a circle.
pub fn edges(template: &Template) -> Option<Vec<Vec<Edge>>> {
    let edges: Option<Vec<Vec<Edge>>> = template
        .containers
        .iter()
        .map(|container| edges_of(template, container))
        .collect();
    edges.filter(|edges| has_no_circle(edges))
}

fn edges_of(template: &Template, container: &ContainerDefinition) -> Option<Vec<Edge>> {
    let place = |name: &str| {
        template
            .containers
            .iter()
            .position(|other| other.name.as_str() == name)
    };
    let mut edges = Vec::new();
    for dependency in &container.depends_on {
        edges.push(Edge {
            on: place(dependency.container.as_str())?,
            condition: dependency.condition,
        });
    }
    let linked = container.links.iter().flatten();
    let implied = linked
        .map(|link| link.split(':').next().unwrap_or(link))
        .chain(
            container
                .volumes_from
                .iter()
                .map(|from| from.source_container.as_str()),
        );
    for name in implied {
        let on = place(name)?;
        // An explicit condition is at least as strong.
        if !edges.iter().any(|edge| edge.on == on) {
            edges.push(Edge {
                on,
                condition: Condition::Start,
            });
        }
    }
    Some(edges)
}

/// Takes away, again and again, those that wait for nothing that is left.
fn has_no_circle(edges: &[Vec<Edge>]) -> bool {
    let mut left: Vec<usize> = (0..edges.len()).collect();
    loop {
        let before = left.len();
        let free: Vec<usize> = left
            .iter()
            .copied()
            .filter(|at| edges[*at].iter().all(|edge| !left.contains(&edge.on)))
            .collect();
        left.retain(|at| !free.contains(at));
        if left.is_empty() {
            return true;
        }
        if left.len() == before {
            return false;
        }
    }
}

/// How the wait of container `of` on `edge` stands.
pub fn wait(template: &Template, view: &TaskView, of: usize, edge: Edge, now: Millis) -> Wait {
    let dependency = &view.containers[edge.on];
    let definition = &template.containers[edge.on];
    if is_over(dependency, edge.condition) {
        return Wait::Over;
    }
    let names = (
        definition.name.as_str(),
        template.containers[of].name.as_str(),
    );
    if dependency.phase == Phase::Stopped {
        return Wait::Never(ended_otherwise(names, edge.condition));
    }
    let unchecked = !definition
        .health_check
        .as_ref()
        .is_some_and(health::is_wanted);
    if edge.condition == Condition::Healthy && unchecked {
        let detail = format!(
            "dependency graph: failed to resolve the container ordering dependency [{}] for \
             target [{}] as dependency has no health check.",
            names.0, names.1
        );
        let why = DependencyProblem::Unchecked;
        return Wait::Never(reason(detail, names.0, edge.condition, why));
    }
    let due = start_timeout(definition, dependency, edge.condition);
    match due {
        Some(due) if due <= now => {
            let detail = format!(
                "dependency graph: container ordering dependency [{}] for target [{}] has timed \
                 out.",
                names.0, names.1
            );
            let why = DependencyProblem::TimedOut;
            Wait::Never(reason(detail, names.0, edge.condition, why))
        }
        due => Wait::Open(due),
    }
}

fn is_over(dependency: &ContainerView, condition: Condition) -> bool {
    let stopped = dependency.phase == Phase::Stopped;
    let ran = dependency.was_started();
    match condition {
        // One that restarts in place stays started.
        Condition::Start => ran,
        Condition::Complete => stopped && ran && dependency.exit_code.is_some(),
        Condition::Success => stopped && ran && dependency.exit_code == Some(0),
        Condition::Healthy => {
            dependency.phase == Phase::Running && dependency.health.status() == Health::Healthy
        }
    }
}

/// The time-out is the dependency's, counts from its start, and guards waiting for its end or
/// health, not for its start.
fn start_timeout(
    definition: &ContainerDefinition,
    dependency: &ContainerView,
    condition: Condition,
) -> Option<Millis> {
    if condition == Condition::Start {
        return None;
    }
    let timeout_s = definition.start_timeout_s.filter(|s| *s > 0)?;
    let started_at = dependency.started_at?;
    Some(started_at.plus_ms(i64::from(timeout_s) * 1_000))
}

fn ended_otherwise((on, of): (&str, &str), condition: Condition) -> ContainerReason {
    let detail = match condition {
        Condition::Success => format!(
            "dependency graph: failed to resolve container ordering dependency [{on}] for target \
             [{of}] as dependency did not exit successfully."
        ),
        _ => format!(
            "dependency graph: failed to resolve the container ordering dependency [{on}] for \
             target [{of}]"
        ),
    };
    reason(detail, on, condition, DependencyProblem::Ended)
}

fn reason(
    detail: String,
    on: &str,
    condition: Condition,
    why: DependencyProblem,
) -> ContainerReason {
    let fault = ContainerFault::Dependency {
        container: on.to_owned(),
        condition,
        why,
    };
    ContainerReason::new(ReasonName::CannotStartContainerError, detail).with_fault(fault)
}

/// May container `of` be stopped: has everything that depends on it stopped?
pub fn may_stop(edges: &[Vec<Edge>], view: &TaskView, of: usize) -> bool {
    edges.iter().zip(&view.containers).all(|(waits, other)| {
        other.phase == Phase::Stopped || waits.iter().all(|edge| edge.on != of)
    })
}
