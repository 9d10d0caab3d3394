//! What happened to a task, and finding one by the first digits of its id.

use super::{json, read};
use crate::door::Answer;
use crate::limits;
use crate::ops::describe_tasks::show as show_task;
use crate::ops::{Call, unexpected};
use crate::reject::api_error;
use serde::Deserialize;
use serde_json::{Value, json};
use windlass_cluster::Answer as Decided;
use windlass_model::arn::Arn;
use windlass_model::command::Command;
use windlass_model::history::{Entry, Event};
use windlass_model::id::{Name, TaskId};
use windlass_model::placement::Refused;
use windlass_model::program_fault::{ProgramCause, ProgramFault};
use windlass_wire::ApiError;
use windlass_wire::convert::{identifier, refusal_detail, refusal_reason, stopped_reason};

mod fault;

#[derive(Deserialize)]
struct FindTask {
    /// A task's ARN, its id, or a unique prefix of it.
    task: String,
}

/// The one task that is meant, with its whole record.
pub(super) async fn find_task(call: &Call<'_>) -> Result<Answer, ApiError> {
    let FindTask { task } = read(call.body)?;
    let id = match Arn::parse(&task) {
        Some(arn) => arn.resource.rsplit('/').next().unwrap_or("").to_owned(),
        None => task,
    };
    match call.ask(Command::FindTask(id)).await? {
        Decided::Task(view) => json(&json!({ "task": show_task(call.scope(), &view, true) })),
        other => Err(unexpected(&other)),
    }
}

#[derive(Deserialize)]
struct DescribeHistory {
    /// `task/<id>`, `cluster/<name>`, `instance/<id>` or `definition/<family>:<revision>`.
    subject: String,
    limit: Option<usize>,
}

/// Newest first.
pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, ApiError> {
    let DescribeHistory { subject, limit } = read(call.body)?;
    let limit = limit
        .unwrap_or(limits::HISTORY_MAX)
        .min(limits::HISTORY_MAX);
    let entries = call.door.leader.history(&subject, limit).await;
    let entries = entries.map_err(|refused| api_error(call.scope(), refused))?;
    if entries.is_empty() && !known(call, &subject).await? {
        return Err(ApiError::new(
            windlass_wire::ErrorCode::ResourceNotFound,
            format!("Nothing is known of {subject}."),
        ));
    }
    let shown: Vec<Value> = entries.iter().map(show).collect();
    json(&json!({ "subject": subject, "entries": shown }))
}

/// Whether there is, or was, what the subject names: it may have no history.
async fn known(call: &Call<'_>, subject: &str) -> Result<bool, ApiError> {
    let Some((kind, name)) = subject.split_once('/') else {
        return Ok(false);
    };
    let command = match (kind, Name::new(name), name.parse::<TaskId>()) {
        ("task", _, Ok(task)) => Command::FindTask(task.to_string()),
        ("cluster", Ok(name), _) => Command::DescribeClusters(vec![name]),
        ("node" | "instance", _, _) => Command::ListNodes,
        ("definition", _, _) if name.contains(':') => {
            match identifier::definition(call.scope(), name) {
                Ok(definition) => Command::DescribeTaskDefinition(definition),
                Err(_) => return Ok(false),
            }
        }
        _ => return Ok(false),
    };
    Ok(match call.ask(command).await {
        Ok(Decided::Clusters { found, .. }) => !found.is_empty(),
        Ok(Decided::Nodes(nodes)) => nodes.iter().any(|view| {
            let mut instances = view.instances.iter();
            match kind {
                "node" => view.node.id.to_string() == name,
                _ => instances.any(|instance| instance.id.to_string() == name),
            }
        }),
        found => found.is_ok(),
    })
}

fn show(entry: &Entry) -> Value {
    let mut shown = event(&entry.event);
    if let Some(members) = shown.as_object_mut() {
        members.insert("atMs".into(), entry.at.0.into());
    }
    shown
}

fn event(event: &Event) -> Value {
    match event {
        Event::Created { by } => json!({ "event": "created", "by": by }),
        Event::Deleted { by } => json!({ "event": "deleted", "by": by }),
        Event::Placed {
            instance,
            node,
            definition,
            considered,
            fitting,
        } => json!({
            "event": "placed",
            "containerInstance": instance.to_string(),
            "node": node.to_string(),
            "taskDefinition": definition.to_string(),
            "considered": considered,
            "fitting": fitting,
        }),
        Event::NotPlaced {
            definition,
            refused,
            total,
        } => json!({
            "event": "notPlaced",
            "taskDefinition": definition.to_string(),
            "refused": refused.iter().map(refusal).collect::<Vec<_>>(),
            "total": total,
        }),
        Event::TaskStatus { from, to } => {
            json!({ "event": "taskStatus", "from": from.as_str(), "to": to.as_str() })
        }
        Event::ContainerStatus {
            container,
            to,
            exit_code,
            reason,
            oom,
            killed_after_s,
        } => json!({
            "event": "containerStatus",
            "container": container,
            "to": to.as_str(),
            "exitCode": exit_code,
            "reason": reason.as_ref().map(|r| format!("{}: {}", r.name.as_str(), r.detail)),
            "program": reason.as_ref().and_then(|r| r.program.as_deref()).map(program),
            "peakBytes": oom.map(|oom| oom.peak_bytes),
            "limitBytes": oom.map(|oom| oom.limit_bytes),
            "fault": reason.as_ref().and_then(|r| r.fault.as_deref()).map(fault::show),
            "killedAfterS": killed_after_s,
        }),
        Event::Health {
            container,
            health,
            output,
        } => json!({
            "event": "health",
            "container": container,
            "health": health.as_str(),
            "output": output,
        }),
        Event::StopWanted(stop) => json!({
            "event": "stopWanted",
            "reason": stopped_reason(&stop.reason),
            "detail": stop_detail(stop),
        }),
        Event::Note(text) => json!({ "event": "note", "text": text }),
        Event::NodeConnected { node } => {
            json!({ "event": "nodeConnected", "node": node.to_string() })
        }
        Event::NodeDisconnected { node } => {
            json!({ "event": "nodeDisconnected", "node": node.to_string() })
        }
        Event::Joined { .. } | Event::Left { .. } | Event::InstanceStatus { .. } => {
            membership(event)
        }
        Event::LastLines { container, lines } => {
            json!({ "event": "lastLines", "container": container, "lines": lines })
        }
    }
}

/// What became of a node's membership in a cluster.
fn membership(event: &Event) -> Value {
    match event {
        Event::Joined {
            node,
            instance,
            on_demand,
            by,
        } => json!({
            "event": "joined",
            "node": node.to_string(),
            "containerInstance": instance.to_string(),
            "onDemand": on_demand,
            "by": by,
        }),
        Event::Left {
            node,
            instance,
            by,
            tasks,
        } => json!({
            "event": "left",
            "node": node.to_string(),
            "containerInstance": instance.to_string(),
            "by": by,
            "tasks": tasks,
        }),
        Event::InstanceStatus { instance, to, by } => json!({
            "event": "instanceStatus",
            "containerInstance": instance.to_string(),
            "to": to.as_str(),
            "by": by,
        }),
        _ => Value::Null,
    }
}

/// Who asked, or which container ended.
fn stop_detail(stop: &windlass_model::stop::Stop) -> Value {
    use windlass_model::stop::StopReason;
    match &stop.reason {
        StopReason::User { by, .. } => json!({ "by": by }),
        StopReason::EssentialContainerExited { container } => json!({ "container": container }),
        StopReason::FailedToStart(reason) => {
            json!({
                "error": format!("{}: {}", reason.name.as_str(), reason.detail),
                "fault": reason.fault.as_deref().map(fault::show),
            })
        }
        _ => Value::Null,
    }
}

/// A program that the kernel would not run. `interpreter` also names a loader.
fn program(fault: &ProgramFault) -> Value {
    let (cause, interpreter) = match &fault.cause {
        ProgramCause::Unknown => ("unknown", None),
        ProgramCause::Empty => ("empty", None),
        ProgramCause::Architecture { .. } => ("architecture", None),
        ProgramCause::NoInterpreterLine => ("noInterpreterLine", None),
        ProgramCause::Interpreter(path) => ("interpreter", Some(path)),
        ProgramCause::CarriageReturn(path) => ("carriageReturn", Some(path)),
        ProgramCause::Loader(path) => ("loader", Some(path)),
    };
    let architecture = match &fault.cause {
        ProgramCause::Architecture { program, .. } => Some(program),
        _ => None,
    };
    json!({
        "path": fault.path,
        "error": fault.error,
        "cause": cause,
        "interpreter": interpreter,
        "architecture": architecture,
        "why": fault.cause.to_string(),
    })
}

fn refusal(refused: &Refused) -> Value {
    let mut shown = fault::refusal(&refused.refusal);
    shown["containerInstance"] = refused.instance.to_string().into();
    shown["reason"] = refusal_reason(&refused.refusal).into();
    shown["detail"] = refusal_detail(&refused.refusal).into();
    shown
}
