//! `why`: in plain words why a task is as it is, then the evidence.

use super::Context;
use super::history::{self, Entry};
use crate::failure::Failure;
use crate::output::{Format, Shown};
use crate::task::{self, text};
use crate::{escape, words};
use serde::Serialize;
use serde_json::{Value, json};
use windlass_wire::shapes::container::Container;
use windlass_wire::shapes::task::Task;

const EXAMPLES: &str = "\
Examples:
  windlass why 3f2a        why it stopped, or does not run yet
  windlass why 3f2a --output json";

/// Say why a task stopped, or does not run.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WhyArgs {
    /// ARN, id, or a unique beginning of an id.
    #[arg(value_name = "TASK")]
    task: String,
    #[command(flatten)]
    shown: Shown,
}

/// The answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Explanation {
    /// One sentence.
    summary: String,
    /// What to do about it, where that is known.
    mend: Option<String>,
    evidence: Vec<Evidence>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Evidence {
    what: String,
    lines: Vec<String>,
}

pub(crate) async fn run(args: WhyArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let task = task::find(&client, &args.task).await?;
    let entries = history::entries(&client, &format!("task/{}", task::id(&task))).await?;
    let explanation = explain(&task, &entries);
    match args.shown.output {
        Format::Json => context.out.json(&json!(explanation)),
        Format::Table => context.out.lines(&render(&explanation)),
    }
}

fn render(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![escape::cell(&explanation.summary).into_owned()];
    lines.extend(
        explanation
            .mend
            .iter()
            .map(|mend| format!("To mend it: {}", escape::cell(mend))),
    );
    for evidence in &explanation.evidence {
        lines.push(String::new());
        lines.push(format!("{}:", escape::cell(&evidence.what)));
        lines.extend(
            evidence
                .lines
                .iter()
                .map(|line| format!("  {}", escape::line(line))),
        );
    }
    lines
}

fn explain(task: &Task, entries: &[Entry]) -> Explanation {
    let (summary, mend) = match (task::is_stopped(task), oom(entries)) {
        (true, Some(entry)) => out_of_memory(entry),
        (true, None) => stopped(task, entries),
        (false, _) => alive(task),
    };
    let mut evidence = Vec::new();
    let mut add = |what: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            evidence.push(Evidence {
                what: what.to_owned(),
                lines,
            });
        }
    };
    add(
        "containers",
        task.containers.iter().flatten().map(container).collect(),
    );
    add("stop", stop(task, entries));
    add("last health check", last_health(entries));
    for entry in entries.iter().filter(|entry| entry.event == "lastLines") {
        let lines = entry.members.get("lines").and_then(Value::as_array);
        let lines = lines
            .into_iter()
            .flatten()
            .filter_map(|line| Some(line.as_str()?.to_owned()));
        add(
            &format!("last lines of {}", entry.text("container")),
            lines.collect(),
        );
    }
    add(
        "notes",
        entries
            .iter()
            .filter(|it| it.event == "note")
            .map(history::sentence)
            .collect(),
    );
    add("time in each phase", phases(entries));
    Explanation {
        summary,
        mend,
        evidence,
    }
}

fn oom(entries: &[Entry]) -> Option<&Entry> {
    entries
        .iter()
        .find(|entry| history::memory(entry).is_some())
}

fn out_of_memory(entry: &Entry) -> (String, Option<String>) {
    let bytes = |name| {
        entry
            .members
            .get(name)
            .and_then(Value::as_u64)
            .map(words::bytes)
    };
    let container = entry.text("container");
    let limit = bytes("limitBytes").unwrap_or_default();
    (
        format!(
            "Container {container} used more memory than its limit of {limit}, and the kernel killed it."
        ),
        Some(format!(
            "give {container} a higher `memory` in the task definition, or make the program use less"
        )),
    )
}

fn stopped(task: &Task, entries: &[Entry]) -> (String, Option<String>) {
    let wanted = stop_wanted(entries);
    let code = task
        .stop_code
        .as_ref()
        .map(|code| code.as_str().to_owned())
        .unwrap_or_default();
    let reason = text(&task.stopped_reason);
    match code.as_str() {
        "UserInitiated" => {
            let by = wanted
                .map(|entry| entry.detail("by"))
                .filter(|by| !by.is_empty());
            (
                format!("{} stopped it: {reason}.", by.unwrap_or("A user")),
                None,
            )
        }
        "EssentialContainerExited" => {
            let name = wanted
                .map(|entry| entry.detail("container"))
                .unwrap_or_default();
            let containers = task.containers.as_deref().unwrap_or_default();
            let ended = containers.iter().find(|it| text(&it.name) == name);
            let ended = ended.or_else(|| containers.iter().find(|it| it.exit_code.is_some()));
            essential_exit(task, ended)
        }
        "TaskFailedToStart" => {
            let error = wanted
                .map(|entry| entry.detail("error"))
                .unwrap_or_default();
            let error = if error.is_empty() {
                first_reason(task).unwrap_or(reason)
            } else {
                error
            };
            (format!("It did not start: {error}."), mend_of(error))
        }
        _ if reason.is_empty() => ("It stopped, and no reason is kept.".to_owned(), None),
        _ => (format!("It stopped: {reason}"), None),
    }
}

fn essential_exit(task: &Task, ended: Option<&Container>) -> (String, Option<String>) {
    let Some(container) = ended else {
        return (format!("{}.", text(&task.stopped_reason)), None);
    };
    let name = text(&container.name);
    match container.exit_code {
        Some(0) => (
            format!(
                "Its essential container {name} ended by itself with success, which ends the task."
            ),
            None,
        ),
        Some(code) => (
            format!(
                "Its essential container {name} ended with exit code {}, which ends the task.",
                words::exit_code(code)
            ),
            Some(match code {
                126 | 127 => {
                    format!("check `command` and `entryPoint` of {name} against its image")
                }
                _ => format!(
                    "look at what it wrote: `windlass logs {} {name}`",
                    short(task)
                ),
            }),
        ),
        None => (
            format!(
                "Its essential container {name} ended: {}.",
                text(&container.reason)
            ),
            None,
        ),
    }
}

fn first_reason(task: &Task) -> Option<&str> {
    task.containers
        .iter()
        .flatten()
        .find_map(|container| container.reason.as_deref())
}

/// What helps against errors that many meet.
fn mend_of(error: &str) -> Option<String> {
    let mends = [
        (
            "CannotPullContainer",
            "check the image's name, `windlass images` for what is there, or load it with `windlass \
             images load`",
        ),
        (
            "chdir to cwd",
            "check `workingDirectory`: the image has something else there than a folder",
        ),
        (
            "mount:",
            "check `mountPoints`: a folder goes onto a folder and a file onto a file",
        ),
        (
            "CannotStartContainer",
            "check `command`, `entryPoint` and `user` against the image",
        ),
        (
            "ResourceInitialization",
            "check the task's volumes, secrets and network against the message",
        ),
    ];
    mends
        .iter()
        .find(|(name, _)| error.contains(name))
        .map(|(_, mend)| (*mend).to_owned())
}

fn alive(task: &Task) -> (String, Option<String>) {
    let status = text(&task.last_status);
    let wanted = text(&task.desired_status);
    let health = task
        .health_status
        .as_ref()
        .map(|health| health.as_str().to_owned());
    match (status, health.as_deref()) {
        ("RUNNING", Some("UNHEALTHY")) => (
            "It runs, but a health check says it is unhealthy.".to_owned(),
            Some(format!(
                "look at what it wrote: `windlass logs {}`",
                short(task)
            )),
        ),
        ("RUNNING", _) if wanted == "STOPPED" => (
            format!(
                "It runs and is about to stop: {}",
                text(&task.stopped_reason)
            ),
            None,
        ),
        ("RUNNING", _) => ("It runs.".to_owned(), None),
        ("PENDING" | "PROVISIONING" | "ACTIVATING", _) => (
            format!("It is on its way: {status}. The phases below tell for how long."),
            None,
        ),
        _ => (format!("It is {status}, on its way to {wanted}."), None),
    }
}

fn container(container: &Container) -> String {
    let mut line = format!(
        "{}: {}",
        text(&container.name),
        text(&container.last_status)
    );
    if let Some(code) = container.exit_code {
        line.push_str(&format!(", exit code {}", words::exit_code(code)));
    }
    if let Some(reason) = &container.reason {
        line.push_str(&format!(", {reason}"));
    }
    line
}

fn stop_wanted(entries: &[Entry]) -> Option<&Entry> {
    entries.iter().find(|entry| entry.event == "stopWanted")
}

fn stop(task: &Task, entries: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(entry) = stop_wanted(entries) {
        lines.push(format!(
            "{} at {}",
            history::sentence(entry),
            words::rfc3339(entry.at_ms)
        ));
    }
    lines.extend(
        task.stop_code
            .as_ref()
            .map(|code| format!("stopCode {}", code.as_str())),
    );
    lines.extend(entries.iter().filter_map(history::memory));
    lines
}

fn last_health(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .rev()
        .find(|it| it.event == "health")
        .map(history::sentence)
        .into_iter()
        .collect()
}

/// How long the task was in each status that it has left.
fn phases(entries: &[Entry]) -> Vec<String> {
    let moves: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.event == "taskStatus")
        .collect();
    let created = entries.first().map(|entry| entry.at_ms);
    let begins = created
        .into_iter()
        .chain(moves.iter().map(|entry| entry.at_ms));
    let phase = |(begin, entry): (i64, &&Entry)| {
        format!(
            "{} {}",
            entry.text("from"),
            words::duration(entry.at_ms.saturating_sub(begin))
        )
    };
    begins.zip(&moves).map(phase).collect()
}

fn short(task: &Task) -> &str {
    let id = task::id(task);
    id.get(..crate::limits::SHORT_ID).unwrap_or(id)
}

#[cfg(test)]
mod tests;
