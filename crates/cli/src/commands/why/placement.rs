//! Why the last RunTask of a definition found no place.

use super::super::history::Entry;
use super::{Evidence, Explanation};
use crate::words;
use serde::Deserialize;

/// One of `refused` of a `notPlaced` entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Refused {
    container_instance: String,
    /// As RunTask answers it.
    reason: String,
    detail: Option<String>,
    what: String,
}

/// `name` is `family:revision`.
pub(super) fn explain(name: &str, entries: &[Entry]) -> Explanation {
    let last = entries.iter().rev().find(|it| it.event == "notPlaced");
    let Some(entry) = last else {
        return Explanation {
            summary: format!("No RunTask of {name} was without a place, as far as history goes."),
            mend: None,
            evidence: Vec::new(),
        };
    };
    let refused = refused(entry);
    let evidence = refused.iter().map(|it| {
        let instance = it.container_instance.get(..crate::limits::SHORT_ID);
        let instance = instance.unwrap_or(&it.container_instance);
        format!("{instance}: {}", refusal(it))
    });
    Explanation {
        summary: sentence(entry),
        mend: refused.first().map(mend),
        evidence: vec![Evidence {
            what: format!("container instances at {}", words::rfc3339(entry.at_ms)),
            lines: evidence.collect(),
        }],
    }
}

/// What the entry says in one sentence. Refusals come sorted, the nearest to a place first.
fn sentence(entry: &Entry) -> String {
    let refused = refused(entry);
    let mut reasons: Vec<String> = Vec::new();
    for reason in refused.iter().map(refusal) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    format!(
        "The last RunTask of {} found no place: {}.",
        entry.text("taskDefinition"),
        reasons.join(", ")
    )
}

fn refused(entry: &Entry) -> Vec<Refused> {
    let refused = entry.members.get("refused").cloned();
    refused
        .and_then(|refused| serde_json::from_value(refused).ok())
        .unwrap_or_default()
}

/// As `windlass run` says it.
fn refusal(refused: &Refused) -> String {
    match &refused.detail {
        Some(detail) => format!("{} ({detail})", refused.reason),
        None => refused.reason.clone(),
    }
}

fn mend(refused: &Refused) -> String {
    match refused.what.as_str() {
        "cpu" | "memory" | "links" => {
            "stop what is not needed, or ask for less; `windlass nodes` shows what is free"
        }
        "port" => {
            "stop the task or program that has the port, or leave \"hostPort\" out: \
             `windlass ps` and `ss -lntup` show which has it"
        }
        "attribute" | "constraint" => {
            "change the constraint; `windlass describe` of the instance shows its attributes"
        }
        "disconnected" => "start the node: `windlass nodes` shows it",
        _ => "`windlass nodes` shows what there is",
    }
    .to_owned()
}
