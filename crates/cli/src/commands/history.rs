//! `history`: what happened to a task, and when.

use super::Context;
use super::thing::{self, Thing};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Format, Shown};
use crate::table::Table;
use crate::task::{self, text};
use crate::words::{self, last_part};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  windlass history 3f2a                 from the first digits of a task's id
  windlass history cluster/default
  windlass history definition/web:3 --output json";

/// Show what happened to a task, a cluster, an instance or a definition.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct HistoryArgs {
    /// A task; or any other thing by its name, or as KIND/NAME like `windlass describe` takes it.
    #[arg(value_name = "TASK")]
    subject: String,
    #[command(flatten)]
    shown: Shown,
}

/// One entry of DescribeHistory. Which members an event has is told in docs/windlass-api.md.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) event: String,
    /// Milliseconds since the epoch.
    pub(crate) at_ms: i64,
    #[serde(flatten)]
    pub(crate) members: serde_json::Map<String, Value>,
}

impl Entry {
    /// A member that is text; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.members.get(name).and_then(Value::as_i64)
    }

    /// A member of the object `detail`, of a stop.
    pub(crate) fn detail(&self, name: &str) -> &str {
        let detail = self
            .members
            .get("detail")
            .and_then(|detail| detail.get(name));
        detail.and_then(Value::as_str).unwrap_or_default()
    }
}

pub(crate) async fn run(args: HistoryArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let subject = subject(&client, &args.subject).await?;
    let entries = entries(&client, &subject).await?;
    match args.shown.output {
        Format::Table => {
            let lines = context.out.table(&list(&entries));
            context.out.lines(&lines)
        }
        Format::Json => {
            let shown: Vec<Value> = entries.iter().map(shown).collect();
            context
                .out
                .json(&json!({ "subject": subject, "entries": shown }))
        }
    }
}

/// What history calls the thing that is meant.
async fn subject(client: &Client, name: &str) -> Result<String, Failure> {
    let of_arn = |arn: &Option<String>| last_part(text(arn)).to_owned();
    let thing = match thing::find(client, name).await {
        // History is kept for longer than the task itself: by its whole id it is still found.
        Err(failure) if failure.exit_code() == 3 => match task::whole_id(name) {
            Some(id) => return Ok(format!("task/{id}")),
            None => return Err(failure),
        },
        thing => thing?,
    };
    Ok(match thing {
        Thing::Task(it) => format!("task/{}", task::id(&it)),
        Thing::Definition(it) => format!("definition/{}", of_arn(&it.task_definition_arn)),
        Thing::Cluster(it) => format!("cluster/{}", text(&it.cluster_name)),
        Thing::Instance(it, _) => format!("instance/{}", of_arn(&it.container_instance_arn)),
        Thing::Node(it) => format!("node/{}", it.id),
    })
}

/// The entries of a subject, oldest first.
pub(crate) async fn entries(client: &Client, subject: &str) -> Result<Vec<Entry>, Failure> {
    #[derive(Deserialize)]
    struct Described {
        entries: Vec<Entry>,
    }
    let answer = client
        .windlass("DescribeHistory", &json!({ "subject": subject }))
        .await?;
    let described: Result<Described, _> = serde_json::from_value(answer);
    let described = described.map_err(|err| Failure::Failed(format!("DescribeHistory: {err}")))?;
    let mut entries = described.entries;
    entries.reverse();
    Ok(entries)
}

/// With a time that people read.
fn shown(entry: &Entry) -> Value {
    let mut members = entry.members.clone();
    members.retain(|_, value| !value.is_null());
    members.insert("event".to_owned(), entry.event.as_str().into());
    members.insert("at".to_owned(), words::rfc3339(entry.at_ms).into());
    Value::Object(members)
}

fn list(entries: &[Entry]) -> Table {
    let mut table = Table::new(&["TIME", "AFTER", "EVENT"]);
    let mut previous = None;
    for entry in entries {
        let after =
            previous.map(|at| format!("+{}", words::duration(entry.at_ms.saturating_sub(at))));
        table.push([
            words::rfc3339(entry.at_ms),
            after.unwrap_or_default(),
            sentence(entry),
        ]);
        previous = Some(entry.at_ms);
    }
    table
}

/// What became of a node's membership in a cluster.
fn membership(entry: &Entry) -> String {
    let text = |name| entry.text(name);
    match entry.event.as_str() {
        "joined" => match entry.members.get("onDemand").and_then(Value::as_bool) {
            Some(true) => format!(
                "node {} joined by itself, as container instance {}: the cluster had none",
                short(text("node")),
                short(text("containerInstance"))
            ),
            _ => format!(
                "node {} joined as container instance {}, by {}",
                short(text("node")),
                short(text("containerInstance")),
                text("by")
            ),
        },
        "left" => {
            let tasks = match entry.number("tasks").unwrap_or(0) {
                0 => String::new(),
                1 => ", and its task runs on".to_owned(),
                many => format!(", and its {many} tasks run on"),
            };
            format!(
                "container instance {} deregistered by {}{tasks}",
                short(text("containerInstance")),
                text("by")
            )
        }
        _ => format!(
            "container instance {} set to {} by {}",
            short(text("containerInstance")),
            text("to"),
            text("by")
        ),
    }
}

/// What an entry says, in one line.
pub(crate) fn sentence(entry: &Entry) -> String {
    let text = |name| entry.text(name);
    match entry.event.as_str() {
        "created" => format!("created by {}", text("by")),
        "deleted" => format!("deleted by {}", text("by")),
        "joined" | "left" | "instanceStatus" => membership(entry),
        "placed" => format!(
            "placed on node {} ({} of {} fitted)",
            short(text("node")),
            entry.number("fitting").unwrap_or(0),
            entry.number("considered").unwrap_or(0)
        ),
        "notPlaced" => {
            let refused = entry.members.get("refused").and_then(Value::as_array);
            let reasons = refused
                .into_iter()
                .flatten()
                .filter_map(|it| it.get("reason")?.as_str());
            let reasons: Vec<&str> = reasons.collect();
            format!(
                "no place for {}: {}",
                text("taskDefinition"),
                reasons.join(", ")
            )
        }
        "taskStatus" => format!("{} -> {}", text("from"), text("to")),
        "containerStatus" => container_status(entry),
        "health" => match text("output") {
            "" => format!("container {} is {}", text("container"), text("health")),
            output => format!(
                "container {} is {}: {output}",
                text("container"),
                text("health")
            ),
        },
        "stopWanted" => match stop_cause(entry) {
            cause if cause.is_empty() => format!("to stop: {}", text("reason")),
            cause => format!("to stop: {} ({cause})", text("reason")),
        },
        "note" => text("text").to_owned(),
        "nodeConnected" => format!("node {} is connected", short(text("node"))),
        "nodeDisconnected" => format!("node {} is disconnected", short(text("node"))),
        "lastLines" => {
            let lines = entry
                .members
                .get("lines")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            format!("kept the last {lines} lines of {}", text("container"))
        }
        // Of a newer server.
        other => format!("{other} {}", Value::Object(entry.members.clone())),
    }
}

fn container_status(entry: &Entry) -> String {
    let mut sentence = format!(
        "container {} -> {}",
        entry.text("container"),
        entry.text("to")
    );
    let code = entry
        .number("exitCode")
        .and_then(|code| i32::try_from(code).ok());
    if let Some(code) = code {
        sentence.push_str(&format!(", exit code {}", words::exit_code(code)));
    }
    if let Some(memory) = memory(entry) {
        sentence.push_str(&format!(", {memory}"));
    }
    if !entry.text("reason").is_empty() {
        sentence.push_str(&format!(", {}", entry.text("reason")));
    }
    sentence
}

/// What the kernel's out-of-memory kill left as evidence.
pub(crate) fn memory(entry: &Entry) -> Option<String> {
    let bytes = |name| {
        entry
            .members
            .get(name)
            .and_then(Value::as_u64)
            .map(words::bytes)
    };
    Some(format!(
        "out of memory: peak {} of {}",
        bytes("peakBytes")?,
        bytes("limitBytes")?
    ))
}

/// Who or what wanted the stop.
pub(crate) fn stop_cause(entry: &Entry) -> String {
    match (
        entry.detail("by"),
        entry.detail("container"),
        entry.detail("error"),
    ) {
        (by, _, _) if !by.is_empty() => format!("by {by}"),
        (_, container, _) if !container.is_empty() => format!("container {container}"),
        (_, _, error) => error.to_owned(),
    }
}

fn short(id: &str) -> &str {
    id.get(..crate::limits::SHORT_ID).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: Value) -> Entry {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_event_has_its_sentence() {
        let table = [
            (
                json!({ "event": "created", "by": "admin" }),
                "created by admin",
            ),
            (
                json!({ "event": "placed", "node": "3f2a0000ffff", "considered": 3, "fitting": 1 }),
                "placed on node 3f2a0000 (1 of 3 fitted)",
            ),
            (
                json!({ "event": "notPlaced", "taskDefinition": "web:1", "total": 1,
                        "refused": [{ "containerInstance": "x", "reason": "RESOURCE:MEMORY" }] }),
                "no place for web:1: RESOURCE:MEMORY",
            ),
            (
                json!({ "event": "taskStatus", "from": "PENDING", "to": "RUNNING" }),
                "PENDING -> RUNNING",
            ),
            (
                json!({ "event": "containerStatus", "container": "web", "to": "STOPPED", "exitCode": 137,
                        "reason": "OutOfMemoryError: killed", "peakBytes": 67108864, "limitBytes": 67108864 }),
                "container web -> STOPPED, exit code 137 (killed by SIGKILL), \
                 out of memory: peak 64 MiB of 64 MiB, OutOfMemoryError: killed",
            ),
            (
                json!({ "event": "containerStatus", "container": "web", "to": "RUNNING",
                        "exitCode": null, "reason": null, "peakBytes": null }),
                "container web -> RUNNING",
            ),
            (
                json!({ "event": "health", "container": "web", "health": "UNHEALTHY", "output": "no" }),
                "container web is UNHEALTHY: no",
            ),
            (
                json!({ "event": "stopWanted", "reason": "Task stopped by user", "detail": { "by": "admin" } }),
                "to stop: Task stopped by user (by admin)",
            ),
            (
                json!({ "event": "stopWanted", "reason": "gone", "detail": null }),
                "to stop: gone",
            ),
            (json!({ "event": "note", "text": "well" }), "well"),
            (
                json!({ "event": "nodeDisconnected", "node": "ab" }),
                "node ab is disconnected",
            ),
            (
                json!({ "event": "lastLines", "container": "a", "lines": ["x"] }),
                "kept the last 1 lines of a",
            ),
            (json!({ "event": "new", "x": 1 }), "new {\"x\":1}"),
        ];
        for (mut value, sentence) in table {
            value["atMs"] = 0.into();
            assert_eq!(super::sentence(&entry(value)), sentence);
        }
    }

    #[test]
    fn time_is_shown_with_its_distance() {
        let of = |at: i64| entry(json!({ "event": "note", "text": "x", "atMs": at }));
        assert_eq!(
            list(&[of(0), of(1_500)]).render(false),
            [
                "TIME                    AFTER  EVENT",
                "1970-01-01T00:00:00Z    -      x",
                "1970-01-01T00:00:01.5Z  +1.5s  x",
            ]
        );
        assert_eq!(
            shown(&of(0)),
            json!({ "event": "note", "text": "x", "at": "1970-01-01T00:00:00Z" })
        );
    }
}
