//! From a task's record and history to what ended it, typed. Its words are in `sentence`.

use super::super::history::Entry;
use crate::task::{self, text};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use windlass_wire::shapes::container::Container;
use windlass_wire::shapes::task::Task;
use windlass_wire::shapes::task_definition::TaskDefinition;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It has not stopped.
    Alive(Alive),
    /// Somebody stopped it.
    Stopped {
        by: String,
        reason: String,
        /// Containers that did not end in time.
        late: Vec<Late>,
    },
    /// One of its containers ended, or was never started.
    Container { name: String, end: End },
    /// Another reason, as it was given; empty where none is kept.
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Alive {
    Unhealthy {
        container: String,
        output: String,
    },
    /// It is about to stop.
    Stopping(String),
    Runs,
    /// On its way up.
    Coming(String),
    Leaving {
        from: String,
        to: String,
    },
}

/// A stop that became a kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) container: String,
    /// The container's `stopTimeout`.
    pub(super) seconds: i64,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exited {
        code: i32,
        /// The last line that it wrote; empty when there is none.
        last_line: String,
        /// The kernel killed a process of it for memory, and it went on.
        memory: Option<Memory>,
    },
    OutOfMemory(Memory),
    /// The kernel did not run its program.
    Program(Program),
    Fault {
        fault: Fault,
        /// What the definition names there: the image, or the volume that is to be mounted.
        about: String,
    },
    /// It was not started, as `on` ended so.
    Waited {
        fault: Dependency,
        on: Box<End>,
    },
    /// As ECS says it: `Name: detail`.
    Reason(String),
    /// It runs on.
    Runs,
    /// Nothing is known.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) limit_bytes: u64,
    /// The limit is of the task, not of the container alone.
    pub(super) of_task: bool,
}

/// Member `program` of a container's entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Program {
    pub(super) path: String,
    pub(super) error: String,
    /// `unknown` when nothing explains it.
    pub(super) cause: String,
    /// In words.
    #[serde(default)]
    pub(super) why: String,
}

/// Member `fault` of a container's entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(super) enum Fault {
    ProgramMissing {
        path: String,
    },
    ProgramNotExecutable {
        path: String,
    },
    User {
        error: String,
    },
    WorkingDirectory {
        path: String,
        error: String,
    },
    Mount {
        path: String,
        error: String,
    },
    Volume {
        volume: String,
        error: String,
    },
    Image(Image),
    Dependency(Dependency),
    HolderEnded,
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "problem", rename_all = "camelCase")]
pub(super) enum Image {
    Refused { registry: String, error: String },
    Unreachable { registry: String, error: String },
    Platform { wanted: String, found: String },
    Other { error: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Dependency {
    pub(super) container: String,
    /// `START`, `COMPLETE`, `SUCCESS` or `HEALTHY`.
    pub(super) condition: String,
    /// `ended`, `timedOut` or `unchecked`.
    pub(super) problem: String,
}

/// Why the task is as it is.
pub(super) fn of(task: &Task, definition: Option<&TaskDefinition>, entries: &[Entry]) -> Cause {
    let known = Known {
        task,
        definition,
        entries,
    };
    if !task::is_stopped(task) {
        return Cause::Alive(known.alive());
    }
    let wanted = stop_wanted(entries);
    let reason = text(&task.stopped_reason).to_owned();
    let code = task.stop_code.as_ref().map(|code| code.as_str());
    let of_container = |name: &str| Cause::Container {
        name: name.to_owned(),
        end: known.end(name, &mut Vec::new()),
    };
    match code.unwrap_or_default() {
        "UserInitiated" => Cause::Stopped {
            by: wanted.map(|it| it.detail("by")).unwrap_or_default().into(),
            reason,
            late: known.late(),
        },
        "EssentialContainerExited" => {
            let named = wanted.map(|it| it.detail("container")).unwrap_or_default();
            match known.ended(named) {
                Some(name) => of_container(&name),
                None => Cause::Other(reason),
            }
        }
        "TaskFailedToStart" => match known.first_to_fail() {
            Some(name) => of_container(&name),
            None => {
                let error = wanted.map(|it| it.detail("error")).unwrap_or_default();
                Cause::Other(if error.is_empty() {
                    reason
                } else {
                    error.into()
                })
            }
        },
        _ => Cause::Other(reason),
    }
}

pub(super) fn stop_wanted(entries: &[Entry]) -> Option<&Entry> {
    entries.iter().find(|entry| entry.event == "stopWanted")
}

struct Known<'a> {
    task: &'a Task,
    definition: Option<&'a TaskDefinition>,
    entries: &'a [Entry],
}

impl Known<'_> {
    fn containers(&self) -> &[Container] {
        self.task.containers.as_deref().unwrap_or_default()
    }

    fn container(&self, name: &str) -> Option<&Container> {
        self.containers().iter().find(|it| text(&it.name) == name)
    }

    /// The entry that tells of a container's end.
    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| {
            entry.event == "containerStatus"
                && entry.text("container") == name
                && entry.text("to") == "STOPPED"
        })
    }

    fn ended(&self, named: &str) -> Option<String> {
        let containers = self.containers();
        let found = containers.iter().find(|it| text(&it.name) == named);
        let found = found.or_else(|| containers.iter().find(|it| it.exit_code.is_some()));
        found.map(|it| text(&it.name).to_owned())
    }

    /// The container that failed before all others; by the record where history says nothing.
    fn first_to_fail(&self) -> Option<String> {
        let failed = |entry: &&Entry| {
            entry.event == "containerStatus"
                && entry.text("to") == "STOPPED"
                && !entry.text("reason").is_empty()
        };
        let entry = self.entries.iter().find(failed);
        let name = entry.map(|entry| entry.text("container").to_owned());
        name.or_else(|| {
            let found = self.containers().iter().find(|it| it.reason.is_some());
            found.map(|it| text(&it.name).to_owned())
        })
    }

    /// A container that waited for another is followed there; `seen` are those on the way.
    fn end(&self, name: &str, seen: &mut Vec<String>) -> End {
        seen.push(name.to_owned());
        let entry = self.entry(name);
        let record = self.container(name);
        let reason = entry
            .map(|it| it.text("reason"))
            .filter(|it| !it.is_empty());
        let reason = reason.or(record.and_then(|it| it.reason.as_deref()));
        let code = entry
            .and_then(|it| it.number("exitCode"))
            .and_then(|code| i32::try_from(code).ok())
            .or(record.and_then(|it| it.exit_code));
        let memory = entry.and_then(|entry| self.memory(record, entry));
        if let Some(memory) = memory.filter(|_| is_of_memory(reason, code)) {
            return End::OutOfMemory(memory);
        }
        if let Some(program) = entry.and_then(|it| member::<Program>(it, "program")) {
            return End::Program(program);
        }
        match entry.and_then(|it| member::<Fault>(it, "fault")) {
            Some(Fault::Dependency(fault)) => {
                let on = match seen.contains(&fault.container) {
                    true => End::Unknown,
                    false => self.end(&fault.container, seen),
                };
                let on = Box::new(on);
                return End::Waited { fault, on };
            }
            Some(Fault::Unknown) | None => {}
            Some(fault) => {
                let about = match &fault {
                    Fault::Mount { path, .. } => self.mounted(name, path),
                    _ => record.map(|it| text(&it.image).to_owned()),
                };
                let about = about.unwrap_or_default();
                return End::Fault { fault, about };
            }
        }
        match (code, reason) {
            (Some(code), None) => End::Exited {
                code,
                last_line: self.last_line(name),
                memory,
            },
            (_, Some(reason)) => End::Reason(reason.to_owned()),
            (None, None) if record.is_some_and(|it| text(&it.last_status) == "RUNNING") => {
                End::Runs
            }
            (None, None) => End::Unknown,
        }
    }

    /// The volume that container `name` is to have at `path`, with its place on the machine.
    fn mounted(&self, name: &str, path: &str) -> Option<String> {
        let definition = self.definition?;
        let mut containers = definition.container_definitions.iter().flatten();
        let container = containers.find(|it| text(&it.name) == name)?;
        let mut points = container.mount_points.iter().flatten();
        let point = points.find(|it| text(&it.container_path) == path)?;
        let volume = text(&point.source_volume);
        let mut volumes = definition.volumes.iter().flatten();
        let host = volumes.find(|it| text(&it.name) == volume)?.host.as_ref();
        let source = host.and_then(|host| host.source_path.as_deref());
        Some(match source {
            Some(source) => format!("volume {volume} ({source})"),
            None => format!("volume {volume}"),
        })
    }

    fn memory(&self, container: Option<&Container>, entry: &Entry) -> Option<Memory> {
        let limit_bytes = entry.members.get("limitBytes").and_then(Value::as_u64)?;
        let is = |mib: &Option<String>| {
            let mib = mib.as_deref().and_then(|mib| mib.parse::<u64>().ok());
            mib.and_then(|mib| mib.checked_mul(1 << 20)) == Some(limit_bytes)
        };
        let of_container = container.is_some_and(|it| is(&it.memory));
        Some(Memory {
            limit_bytes,
            of_task: !of_container && is(&self.task.memory),
        })
    }

    fn last_line(&self, name: &str) -> String {
        let mut entries = self.entries.iter().rev();
        let entry = entries.find(|it| it.event == "lastLines" && it.text("container") == name);
        let lines = entry.and_then(|it| it.members.get("lines")?.as_array());
        let mut lines = lines.into_iter().flatten().filter_map(Value::as_str);
        let mut last = "";
        for line in &mut lines {
            if !line.trim().is_empty() {
                last = line.trim();
            }
        }
        last.to_owned()
    }

    fn late(&self) -> Vec<Late> {
        late(self.entries)
    }

    fn alive(&self) -> Alive {
        let status = text(&self.task.last_status);
        let wanted = text(&self.task.desired_status);
        let unhealthy = self.entries.iter().rev().find(|it| it.event == "health");
        let unhealthy = unhealthy.filter(|it| it.text("health") == "UNHEALTHY");
        let health = self.task.health_status.as_ref().map(|it| it.as_str());
        match status {
            "RUNNING" if health == Some("UNHEALTHY") => Alive::Unhealthy {
                container: unhealthy
                    .map(|it| it.text("container"))
                    .unwrap_or_default()
                    .into(),
                output: unhealthy
                    .map(|it| it.text("output"))
                    .unwrap_or_default()
                    .into(),
            },
            "RUNNING" if wanted == "STOPPED" => {
                Alive::Stopping(text(&self.task.stopped_reason).to_owned())
            }
            "RUNNING" => Alive::Runs,
            "PENDING" | "PROVISIONING" | "ACTIVATING" => Alive::Coming(status.to_owned()),
            _ => Alive::Leaving {
                from: status.to_owned(),
                to: wanted.to_owned(),
            },
        }
    }
}

/// The containers whose stop became a kill.
pub(super) fn late(entries: &[Entry]) -> Vec<Late> {
    let found = entries.iter().filter_map(|entry| {
        Some(Late {
            container: entry.text("container").to_owned(),
            seconds: entry.number("killedAfterS")?,
        })
    });
    found.collect()
}

/// Memory ended the container itself, not only a child of it.
fn is_of_memory(reason: Option<&str>, code: Option<i32>) -> bool {
    match reason {
        Some(reason) => reason.starts_with("OutOfMemoryError"),
        None => code.is_none_or(|code| code == 137),
    }
}

fn member<T: DeserializeOwned>(entry: &Entry, name: &str) -> Option<T> {
    serde_json::from_value(entry.members.get(name)?.clone()).ok()
}
