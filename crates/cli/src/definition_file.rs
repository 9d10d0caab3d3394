//! Files of task definitions: what `aws ecs register-task-definition --cli-input-json` takes, and
//! what `aws ecs describe-task-definition` prints.

use crate::failure::Failure;
use crate::limits;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use windlass_wire::ops::RegisterTaskDefinitionRequest;
use windlass_wire::{Operation, decode, unknown_members};

/// What a registration answers and does not take.
const OUTPUT_ONLY: [&str; 9] = [
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
    "deleteRequestedAt",
];

/// A definition that was read and is not registered.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) request: RegisterTaskDefinitionRequest,
    /// Paths of members that ECS does not know, and which are not sent.
    pub(crate) unknown: Vec<String>,
}

/// Reads a file, or stdin for `-`.
pub(crate) fn read(path: &Path) -> Result<Draft, Failure> {
    let name = path.display().to_string();
    let mut text = String::new();
    let limit = limits::DEFINITION_BYTES_MAX;
    let what = format!("read the task definition {name}");
    let length = match path == Path::new("-") {
        true => std::io::stdin()
            .lock()
            .take(limit + 1)
            .read_to_string(&mut text),
        false => File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text)),
    };
    if length.map_err(Failure::file(what))? as u64 > limit {
        return Err(Failure::Usage(format!(
            "{name} is no task definition: it has over {limit} bytes"
        )));
    }
    parse(&text).map_err(|why| Failure::Usage(format!("{name} is no task definition: {why}")))
}

fn parse(text: &str) -> Result<Draft, String> {
    // Before anything is taken apart: a key that stands twice is a fault wherever it stands.
    unknown_members(text, Operation::StopTask).map_err(|err| err.message)?;
    let document: Value = serde_json::from_str(text).map_err(|err| err.to_string())?;
    let Value::Object(mut members) = document else {
        return Err("it is no JSON object".to_owned());
    };
    if let Some(Value::Object(mut inner)) = members.remove("taskDefinition") {
        // The tags of a described definition stand beside it.
        if let Some(tags) = members.remove("tags") {
            inner.entry("tags").or_insert(tags);
        }
        members = inner;
    }
    members.retain(|name, _| !OUTPUT_ONLY.contains(&name.as_str()));
    if members.is_empty() {
        return Err("it has no family and no containerDefinitions".to_owned());
    }
    request(members)
}

fn request(members: Map<String, Value>) -> Result<Draft, String> {
    let text = Value::Object(members).to_string();
    let decoded = decode::<RegisterTaskDefinitionRequest>(text.as_bytes());
    let decoded = decoded.map_err(|err| err.message)?;
    Ok(Draft {
        request: decoded.input,
        unknown: decoded.unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_described_definition_registers_again() {
        let text = r#"{
            "taskDefinition": {
                "taskDefinitionArn": "arn:aws:ecs:us-east-1:0:task-definition/web:3",
                "family": "web", "revision": 3, "status": "ACTIVE",
                "requiresAttributes": [{"name": "x"}], "compatibilities": ["EC2"],
                "registeredAt": "2026-01-01T00:00:00+00:00", "registeredBy": "me",
                "containerDefinitions": [{"name": "a", "image": "b", "color": 1}], "new": {}
            },
            "tags": [{"key": "k", "value": "v"}]
        }"#;
        let read = parse(text).unwrap();
        let sent = serde_json::to_value(&read.request).unwrap();
        let expected = serde_json::json!({
            "family": "web", "containerDefinitions": [{"name": "a", "image": "b"}],
            "tags": [{"key": "k", "value": "v"}],
        });
        assert_eq!(sent, expected);
        assert_eq!(read.unknown, ["containerDefinitions[0].color", "new"]);
    }

    #[test]
    fn a_plain_request_is_taken_as_it_is() {
        let text = r#"{"family":"web","containerDefinitions":[],"cpu":"256"}"#;
        let read = parse(text).unwrap();
        assert_eq!(
            (read.request.cpu.as_deref(), read.unknown.len()),
            (Some("256"), 0)
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("family: web", "JSON"),
            ("[]", ""),
            ("{}", "no family"),
            (r#"{"family":1}"#, "can not be converted to a String"),
            (
                r#"{"taskDefinition":{"family":"a","family":"b"}}"#,
                "family",
            ),
        ] {
            let err = parse(text).unwrap_err();
            assert!(err.contains(word), "{text}: {err}");
        }
    }
}
