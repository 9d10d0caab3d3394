//! What the control plane is told of a task: its containers' states rolled up.

use crate::limits::REMOVALS_BEFORE_REPORT;
use crate::plan::wants_own_network;
use crate::view::{ContainerView, Part, Phase, TaskView};
use windlass_model::container::ContainerDefinition;
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::TaskId;
use windlass_model::limits::REASON_CHARS_MAX;
use windlass_model::observation::{AttachmentObservation, ContainerObservation, Observation};
use windlass_model::status::{AttachmentStatus, TaskStatus};
use windlass_model::stop::ContainerReason;
use windlass_model::task::NetworkBinding;

/// What the node alone knows of the addresses it gave; `node` only passes it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// In the definition's order.
    pub runtime_ids: Vec<String>,
    /// In the definition's order; shown once the container runs.
    pub bindings: Vec<Vec<NetworkBinding>>,
    /// Of the task's network interface.
    pub interface_id: Option<String>,
    pub mac: Option<String>,
    pub private_dns_name: Option<String>,
    pub private_ipv4: Option<String>,
}

/// The task's status: the least of what its containers reached on the way up, and what is still to
/// do on the way down. It never moves backwards, because no container does.
pub fn status(template: &Template, view: &TaskView) -> TaskStatus {
    let awsvpc = template.network() == NetworkMode::Awsvpc;
    let given_up = view.removal_failures >= REMOVALS_BEFORE_REPORT;
    if view.stopping.is_some() {
        return match view.all_stopped() {
            // A container that was never asked to run has nothing to stop.
            false => TaskStatus::Stopping,
            true if view.is_removed() || given_up => TaskStatus::Stopped,
            true if awsvpc => TaskStatus::Deprovisioning,
            true => TaskStatus::Stopping,
        };
    }
    if awsvpc && view.network != Part::Made {
        return TaskStatus::Provisioning;
    }
    // One that is not essential and ended has been past RUNNING.
    let up = view.containers.iter().all(|c| {
        matches!(c.phase, Phase::Running | Phase::Restarting | Phase::Stopped)
            || (c.phase == Phase::Starting && c.was_started())
    });
    if up {
        TaskStatus::Running
    } else {
        TaskStatus::Pending
    }
}

/// The newest observation, complete; the agent numbers it.
pub fn report(task: TaskId, template: &Template, view: &TaskView, facts: &Facts) -> Observation {
    let status = status(template, view);
    let containers = template
        .containers
        .iter()
        .zip(&view.containers)
        .enumerate()
        .map(|(at, (definition, container))| {
            let id = facts
                .runtime_ids
                .get(at)
                .filter(|_| container.was_started());
            let bindings = facts.bindings.get(at).filter(|_| container.was_started());
            container_report(
                definition,
                container,
                id.cloned(),
                bindings.cloned().unwrap_or_default(),
            )
        })
        .collect();
    Observation {
        task,
        sequence: 0,
        status,
        containers,
        pull_started_at: view.pull_started_at,
        pull_stopped_at: view.pull_stopped_at,
        execution_stopped_at: view.execution_stopped_at,
        attachment: attachment(template, view, facts),
        stop: view
            .stopping
            .as_ref()
            .and_then(|stopping| stopping.by_node.clone()),
        notes: view.notes.clone(),
        out_of_reach: view.out_of_reach && !view.all_stopped(),
    }
}

fn container_report(
    definition: &ContainerDefinition,
    container: &ContainerView,
    runtime_id: Option<String>,
    bindings: Vec<NetworkBinding>,
) -> ContainerObservation {
    let checked = definition
        .health_check
        .as_ref()
        .is_some_and(crate::health::is_wanted);
    ContainerObservation {
        name: definition.name.clone(),
        status: container.status(),
        runtime_id,
        image_digest: container.image_digest.clone(),
        // While it restarts in place, the last run's end is nobody's business.
        exit_code: container
            .exit_code
            .filter(|_| container.phase == Phase::Stopped),
        reason: container.reason.as_ref().map(cut),
        bindings,
        health: (checked && container.was_started()).then(|| container.health.status()),
        health_output: container.health.output.clone(),
        started_at: container.started_at,
        stopped_at: container.stopped_at,
        oom: container.oom,
        last_lines: container.last_lines.clone(),
        killed_after_s: container.killed_after_s,
    }
}

/// Source: ECS API limit of a reason, and `name: ` comes before the detail.
fn cut(reason: &ContainerReason) -> ContainerReason {
    let room = REASON_CHARS_MAX.saturating_sub(reason.name.as_str().len() + 2);
    ContainerReason {
        name: reason.name,
        detail: reason.detail.chars().take(room).collect(),
        program: reason.program.clone(),
        fault: reason.fault.clone(),
    }
}

fn attachment(
    template: &Template,
    view: &TaskView,
    facts: &Facts,
) -> Option<AttachmentObservation> {
    if template.network() != NetworkMode::Awsvpc {
        return None;
    }
    let ended = view.stopping.is_some() && view.all_stopped();
    let status = match view.network {
        Part::Absent if view.stopping.is_some() => AttachmentStatus::Deleted,
        Part::Absent | Part::Unknown => AttachmentStatus::Precreated,
        Part::Making => AttachmentStatus::Attaching,
        Part::Made if facts.private_ipv4.is_none() => AttachmentStatus::Failed,
        Part::Made if ended => AttachmentStatus::Detaching,
        Part::Made => AttachmentStatus::Attached,
        Part::Removing => AttachmentStatus::Detaching,
        Part::Gone => AttachmentStatus::Deleted,
    };
    Some(AttachmentObservation {
        status,
        interface_id: facts.interface_id.clone(),
        mac: facts.mac.clone(),
        private_dns_name: facts.private_dns_name.clone(),
        private_ipv4: facts.private_ipv4.clone(),
    })
}

/// Whether a container shows bindings of its own network.
pub fn shows_bindings(template: &Template, definition: &ContainerDefinition) -> bool {
    wants_own_network(template, definition) || template.network() == NetworkMode::Host
}
