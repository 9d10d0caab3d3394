//! Files of task definitions: what `aws ecs register-task-definition --cli-input-json` and
//! `--cli-input-yaml` take, and what `aws ecs describe-task-definition` prints.

mod member;
mod yaml;

use crate::failure::Failure;
use crate::limits;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use windlass_wire::ops::RegisterTaskDefinitionRequest;
use windlass_wire::shape::shape_of;
use windlass_wire::shapes::task_definition::TaskDefinition;
use windlass_wire::{Operation, decode, unknown_members};

/// What a well-meant file looks like, for who sent something else.
const FORM: &str = "a task definition looks like {\"family\": \"web\", \"containerDefinitions\": \
                    [{\"name\": \"web\", \"image\": \"nginx\", \"memory\": 64}]}";

/// A definition that was read and is not registered.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) request: RegisterTaskDefinitionRequest,
    /// Members that ECS does not know and that are not sent, each with what may be meant.
    pub(crate) unknown: Vec<String>,
}

/// Reads a file, or stdin for `-`.
pub(crate) fn read(path: &Path) -> Result<Draft, Failure> {
    let name = match path == Path::new("-") {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    };
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
    let is_yaml = path
        .extension()
        .is_some_and(|it| it.eq_ignore_ascii_case("yaml") || it.eq_ignore_ascii_case("yml"));
    parse(&text, is_yaml)
        .map_err(|why| Failure::Usage(format!("{name} is no task definition: {why}")))
}

/// `is_yaml` says that the file calls itself so; what begins like no JSON is taken for it too.
fn parse(text: &str, is_yaml: bool) -> Result<Draft, String> {
    let text = text.trim_start_matches('\u{feff}');
    let begin = text.trim_start();
    if begin.is_empty() {
        return Err(format!("it is empty; {FORM}"));
    }
    let document = match is_yaml || !begin.starts_with(['{', '[', '"']) {
        true => yaml::read(text)?,
        false => json(text)?,
    };
    let mut members = match document {
        Value::Object(members) => members,
        Value::Array(items) => return Err(of_list(&items)),
        _ => {
            return Err(format!(
                "it is neither a JSON object nor a YAML mapping; {FORM}"
            ));
        }
    };
    if let Some(Value::Object(mut inner)) = members.remove("taskDefinition") {
        // The tags of a described definition stand beside it.
        if let Some(tags) = members.remove("tags") {
            inner.entry("tags").or_insert(tags);
        }
        members = inner;
    }
    members.retain(|name, value| !is_only_answered(name) && !is_no_tags(name, value));
    if members.is_empty() {
        return Err(format!(
            "it has no family and no containerDefinitions; {FORM}"
        ));
    }
    request(members)
}

fn json(text: &str) -> Result<Value, String> {
    // Before anything is taken apart: a key that stands twice is a fault wherever it stands. Of a
    // list nothing is known, and what it is of is said later.
    if !text.trim_start().starts_with('[') {
        unknown_members(text, Operation::StopTask).map_err(|err| err.message)?;
    }
    serde_json::from_str(text).map_err(|err| format!("it is no JSON: {err}"))
}

fn of_list(items: &[Value]) -> String {
    let has = |name: &str| items.iter().any(|item| item.get(name).is_some());
    if has("image") || has("name") && !has("family") {
        return format!(
            "it is a list of containers, which belongs into containerDefinitions beside a family: \
             {FORM}"
        );
    }
    if has("containerDefinitions") || has("taskDefinition") {
        return "it is a list: give each of its task definitions a file of its own".to_owned();
    }
    format!("it is a list; {FORM}")
}

/// What describes a definition and is not registered: its revision, its status and the like.
fn is_only_answered(name: &str) -> bool {
    let known = |members: &[windlass_wire::shape::Member]| members.iter().any(|it| it.name == name);
    let answered = known(shape_of::<TaskDefinition>().members) || name == "ResponseMetadata";
    answered && !known(shape_of::<RegisterTaskDefinitionRequest>().members)
}

/// Of a definition without tags ECS answers none of them, and takes no empty list.
fn is_no_tags(name: &str, value: &Value) -> bool {
    name == "tags" && (value.is_null() || value.as_array().is_some_and(Vec::is_empty))
}

fn request(members: Map<String, Value>) -> Result<Draft, String> {
    let text = Value::Object(members).to_string();
    let decoded = decode::<RegisterTaskDefinitionRequest>(text.as_bytes());
    let decoded = decoded.map_err(|err| err.message)?;
    let shape = shape_of::<RegisterTaskDefinitionRequest>();
    let unknown = decoded.unknown.iter();
    Ok(Draft {
        request: decoded.input,
        unknown: unknown
            .map(|path| member::with_suggestion(shape, path))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> Value {
        let read = parse(text, false).unwrap();
        assert_eq!(read.unknown, [""; 0]);
        serde_json::to_value(&read.request).unwrap()
    }

    #[test]
    fn a_described_definition_registers_again() {
        let text = r#"{
            "taskDefinition": {
                "taskDefinitionArn": "arn:aws:ecs:us-east-1:0:task-definition/web:3",
                "family": "web", "revision": 3, "status": "ACTIVE",
                "requiresAttributes": [{"name": "x"}], "compatibilities": ["EC2"],
                "registeredAt": "2026-01-01T00:00:00+00:00", "registeredBy": "me",
                "deregisteredAt": 1, "deleteRequestedAt": 2,
                "containerDefinitions": [{"name": "a", "image": "b", "color": 1}], "zz": {}
            },
            "tags": [{"key": "k", "value": "v"}]
        }"#;
        let read = parse(text, false).unwrap();
        let expected = serde_json::json!({
            "family": "web", "containerDefinitions": [{"name": "a", "image": "b"}],
            "tags": [{"key": "k", "value": "v"}],
        });
        assert_eq!(serde_json::to_value(&read.request).unwrap(), expected);
        assert_eq!(read.unknown, ["containerDefinitions[0].color", "zz"]);
        let wrapped = r#"{"taskDefinition": {"family": "web"}, "tags": [],
                          "ResponseMetadata": {"RetryAttempts": 0}}"#;
        for text in [
            wrapped,
            r#"{"family": "web", "tags": [], "revision": 1}"#,
            r#"{"family": "web", "tags": null}"#,
            "family: web\ntags: []\n",
            "\u{feff}{\"family\": \"web\"}",
        ] {
            assert_eq!(sent(text), serde_json::json!({ "family": "web" }), "{text}");
        }
    }

    #[test]
    fn a_plain_request_is_taken_as_it_is() {
        let text = r#"{"family":"web","containerDefinitions":[],"cpu":"256"}"#;
        assert_eq!(sent(text)["cpu"], "256");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("", "empty"),
            ("just words", "neither a JSON object nor a YAML mapping"),
            ("[]", "a list"),
            (r#"[{"name":"a","image":"b"}]"#, "a list of containers"),
            (
                r#"[{"family":"a","containerDefinitions":[]}]"#,
                "a file of its own",
            ),
            ("- name: a\n  image: b\n", "a list of containers"),
            ("{}", "no family"),
            ("{", "EOF"),
            (r#"{"family":1}"#, "can not be converted to a String"),
            (
                r#"{"taskDefinition":{"family":"a","family":"b"}}"#,
                "family",
            ),
            ("family: a\nfamily: b\n", "family"),
            ("family: [a\n", "YAML"),
        ] {
            let err = parse(text, false).unwrap_err();
            assert!(err.contains(word), "{text}: {err}");
            assert!(!err.contains("Error"), "{text}: {err}");
        }
    }
}
