//! What `why` shows below its sentence: each fact once.

use super::super::history::{self, Entry};
use super::Evidence;
use super::cause::{self, Cause, End};
use crate::task::text;
use crate::words;
use serde_json::Value;
use windlass_wire::shapes::container::Container;
use windlass_wire::shapes::task::Task;

pub(super) fn of(task: &Task, entries: &[Entry], cause: &Cause) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let mut add = |what: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let what = what.to_owned();
            evidence.push(Evidence { what, lines });
        }
    };
    let containers = task.containers.iter().flatten();
    add(
        "containers",
        containers
            .map(|it| container(it, entries, is_told(cause, text(&it.name))))
            .collect(),
    );
    add("stop", stop(task, entries));
    add("last health check", last_health(entries));
    for (container, lines) in last_lines(entries) {
        add(&format!("last lines of {container}"), lines);
    }
    add("notes", notes(entries));
    add("time in each phase", phases(entries));
    evidence
}

/// Whether the sentence has the container's reason already.
fn is_told(cause: &Cause, container: &str) -> bool {
    match cause {
        Cause::Container { name, end } => {
            name == container
                || matches!(end, End::Waited { fault, .. } if fault.container == container)
        }
        _ => false,
    }
}

fn container(container: &Container, entries: &[Entry], is_told: bool) -> String {
    let name = text(&container.name);
    let mut line = format!("{name}: {}", text(&container.last_status));
    if let Some(code) = container.exit_code {
        line.push_str(&format!(", exit code {}", words::exit_code(code)));
    }
    let late = cause::late(entries);
    if let Some(late) = late.iter().find(|it| it.container == name) {
        line.push_str(&format!(
            ", killed after its stopTimeout of {} s",
            late.seconds
        ));
    }
    if let Some(reason) = &container.reason {
        let shown = match is_told {
            true => reason.split(':').next().unwrap_or_default(),
            false => reason,
        };
        line.push_str(&format!(", {shown}"));
    }
    line
}

fn stop(task: &Task, entries: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(code) = &task.stop_code {
        let mut line = format!("stopCode {}", code.as_str());
        if let Some(entry) = cause::stop_wanted(entries) {
            for (what, name) in [
                ("by", entry.detail("by")),
                ("container", entry.detail("container")),
            ] {
                if !name.is_empty() {
                    line.push_str(&format!(", {what} {name}"));
                }
            }
            line.push_str(&format!(", at {}", words::rfc3339(entry.at_ms)));
        }
        lines.push(line);
    }
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

/// The newest of each container.
fn last_lines(entries: &[Entry]) -> Vec<(&str, Vec<String>)> {
    let mut all: Vec<(&str, Vec<String>)> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.event == "lastLines") {
        let lines = entry.members.get("lines").and_then(Value::as_array);
        let lines = lines
            .into_iter()
            .flatten()
            .filter_map(|line| Some(line.as_str()?.to_owned()));
        let container = entry.text("container");
        all.retain(|(other, _)| *other != container);
        all.push((container, lines.collect()));
    }
    all
}

fn notes(entries: &[Entry]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for entry in entries.iter().filter(|it| it.event == "note") {
        let note = history::sentence(entry);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
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
