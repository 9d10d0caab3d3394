//! AWS's words for stops and refusals, from the typed causes: the one place that has them.

use crate::shapes::task::TaskStopCode;
use windlass_model::placement::Refusal;
use windlass_model::stop::{ContainerReason, ReasonName, StopCode, StopReason};

pub fn stop_code(code: StopCode) -> TaskStopCode {
    match code {
        StopCode::TaskFailedToStart => TaskStopCode::TaskFailedToStart,
        StopCode::EssentialContainerExited => TaskStopCode::EssentialContainerExited,
        StopCode::UserInitiated => TaskStopCode::UserInitiated,
        StopCode::ServiceSchedulerInitiated => TaskStopCode::ServiceSchedulerInitiated,
        StopCode::SpotInterruption => TaskStopCode::SpotInterruption,
        StopCode::TerminationNotice => TaskStopCode::TerminationNotice,
        StopCode::InfrastructureHealth => TaskStopCode::InfrastructureHealth,
    }
}

/// `stoppedReason`. Ours alone are the sentences about nodes: ECS speaks of EC2 instances there.
pub fn stopped_reason(reason: &StopReason) -> String {
    match reason {
        StopReason::User { reason, .. } => match reason {
            Some(reason) => reason.clone(),
            None => String::from("Task stopped by user"),
        },
        StopReason::EssentialContainerExited { .. } => {
            String::from("Essential container in task exited")
        }
        StopReason::FailedToStart(reason) => match reason.name {
            ReasonName::CannotPullContainerError | ReasonName::ResourceInitializationError => {
                container_reason(reason)
            }
            _ => String::from("Task failed to start"),
        },
        StopReason::NodeRebooted => {
            String::from("Host restarted: the machine came back with another boot.")
        }
        StopReason::LostByNode => String::from("The agent on the host does not know the task."),
        StopReason::NodeRemoved => String::from("Host removed from the cluster."),
        StopReason::NotInState => {
            String::from("The task is not in the state, which was restored from an earlier backup.")
        }
        StopReason::ShutDown => String::from("Windlass was shut down by its operator."),
    }
}

/// A container's `reason`.
pub(super) fn container_reason(reason: &ContainerReason) -> String {
    let text = format!("{}: {}", reason.name.as_str(), reason.detail);
    text.chars()
        .take(windlass_model::limits::REASON_CHARS_MAX)
        .collect()
}

/// The `reason` of a RunTask failure on Fargate, which knows of no nodes: there is room or there is
/// none. What no node can do stays apart, for no patience helps there.
pub fn fargate_refusal_reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Unsupported(_) => refusal_reason(refusal),
        _ => String::from(
            "Capacity is unavailable at this time. Please try again later or in a different \
             availability zone",
        ),
    }
}

/// The `detail` of a RunTask failure, which `why` shows too: how much was needed and how much there
/// was, which ECS leaves to guesswork.
pub fn refusal_detail(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::Cpu { need, free } => Some(format!(
            "needs {need} CPU units, {free} are free; `windlass up --cpu-overcommit N` lets tasks \
             share processors"
        )),
        Refusal::Memory { need, free } => {
            Some(format!("needs {need} MiB of memory, {free} MiB are free"))
        }
        Refusal::Links { need, free } => Some(format!(
            "needs {need} network interfaces, {free} are free; a larger range, \
             `windlass up --subnet`, gives room for more"
        )),
        Refusal::Port(port) => Some(format!("host port {} is in use", port.port)),
        Refusal::Attribute(name) => Some(format!("the instance does not have attribute {name}")),
        Refusal::Constraint(expression) => Some(format!(
            "the instance does not meet the constraint {expression}"
        )),
        Refusal::Unsupported(what) => Some(format!("{what} is not supported yet")),
        Refusal::AgentDisconnected => Some(String::from("the node is not connected")),
        Refusal::Draining => Some(String::from("the instance is DRAINING")),
        Refusal::Inactive | Refusal::Missing => None,
    }
}

/// The `reason` of a RunTask failure.
pub fn refusal_reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Cpu { .. } => String::from("RESOURCE:CPU"),
        Refusal::Memory { .. } => String::from("RESOURCE:MEMORY"),
        // ECS counts the interfaces of an instance so.
        Refusal::Links { .. } => String::from("RESOURCE:ENI"),
        Refusal::Port(_) => String::from("RESOURCE:PORTS"),
        Refusal::Attribute(_) => String::from("ATTRIBUTE"),
        Refusal::Constraint(_) => String::from("MemberOf placement constraint unsatisfied."),
        Refusal::AgentDisconnected => String::from("AGENT"),
        Refusal::Draining | Refusal::Inactive => String::from("INACTIVE"),
        Refusal::Unsupported(_) => String::from("ATTRIBUTE"),
        Refusal::Missing => String::from("MISSING"),
    }
}
