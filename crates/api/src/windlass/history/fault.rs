//! Typed causes as JSON: what kept a container from running, and a task from a place.

use serde_json::{Value, json};
use windlass_model::container::Condition;
use windlass_model::container_fault::{ContainerFault, DependencyProblem, ImageProblem};
use windlass_model::placement::Refusal;

pub(super) fn show(fault: &ContainerFault) -> Value {
    match fault {
        ContainerFault::ProgramMissing { path } => {
            json!({ "kind": "programMissing", "path": path })
        }
        ContainerFault::ProgramNotExecutable { path } => {
            json!({ "kind": "programNotExecutable", "path": path })
        }
        ContainerFault::User { error } => json!({ "kind": "user", "error": error }),
        ContainerFault::WorkingDirectory { path, error } => {
            json!({ "kind": "workingDirectory", "path": path, "error": error })
        }
        ContainerFault::Mount { path, error } => {
            json!({ "kind": "mount", "path": path, "error": error })
        }
        ContainerFault::Volume { volume, error } => {
            json!({ "kind": "volume", "volume": volume, "error": error })
        }
        ContainerFault::Image(problem) => image(problem),
        ContainerFault::Dependency {
            container,
            condition,
            why,
        } => json!({
            "kind": "dependency",
            "container": container,
            "condition": match condition {
                Condition::Start => "START",
                Condition::Complete => "COMPLETE",
                Condition::Success => "SUCCESS",
                Condition::Healthy => "HEALTHY",
            },
            "problem": match why {
                DependencyProblem::Ended => "ended",
                DependencyProblem::TimedOut => "timedOut",
                DependencyProblem::Unchecked => "unchecked",
            },
        }),
        ContainerFault::HolderEnded => json!({ "kind": "holderEnded" }),
    }
}

fn image(problem: &ImageProblem) -> Value {
    let (problem, registry, error) = match problem {
        ImageProblem::Refused { registry, error } => ("refused", Some(registry), error.clone()),
        ImageProblem::Unreachable { registry, error } => {
            ("unreachable", Some(registry), error.clone())
        }
        ImageProblem::Platform { wanted, found } => {
            return json!({
                "kind": "image",
                "problem": "platform",
                "wanted": wanted,
                "found": found,
            });
        }
        ImageProblem::Other { error } => ("other", None, error.clone()),
    };
    json!({ "kind": "image", "problem": problem, "registry": registry, "error": error })
}

/// An instance's refusal: how much was needed and free, or what was in the way.
pub(super) fn refusal(refusal: &Refusal) -> Value {
    let amount =
        |what: &str, need: &u64, free: &u64| json!({ "what": what, "need": need, "free": free });
    let named = |what: &str, name: &str| json!({ "what": what, "name": name });
    match refusal {
        Refusal::Cpu { need, free } => amount("cpu", need, free),
        Refusal::Memory { need, free } => amount("memory", need, free),
        Refusal::Links { need, free } => amount("links", need, free),
        Refusal::Port(port) => json!({ "what": "port", "port": port.port }),
        Refusal::Attribute(name) => named("attribute", name),
        Refusal::Constraint(expression) => named("constraint", expression),
        Refusal::Unsupported(what) => named("unsupported", what),
        Refusal::AgentDisconnected => json!({ "what": "disconnected" }),
        Refusal::Draining => json!({ "what": "draining" }),
        Refusal::Inactive | Refusal::Missing => json!({ "what": "inactive" }),
    }
}
