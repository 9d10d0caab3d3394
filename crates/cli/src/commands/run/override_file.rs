//! `--overrides`: what RunTask takes as its `overrides`, as text or in a file, as the `aws` CLI takes
//! it.

use crate::failure::Failure;
use crate::limits;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use windlass_wire::decode;
use windlass_wire::ops::RunTaskRequest;
use windlass_wire::shapes::task_override::TaskOverride;

pub(super) fn read(given: &str) -> Result<TaskOverride, Failure> {
    let text = match given.strip_prefix("file://") {
        Some(path) => {
            let mut text = String::new();
            let limit = limits::DEFINITION_BYTES_MAX;
            let read = File::open(path).and_then(|it| it.take(limit).read_to_string(&mut text));
            read.map_err(Failure::file(format!("read the overrides {path}")))?;
            text
        }
        None => given.to_owned(),
    };
    parse(&text).map_err(|why| Failure::Usage(format!("--overrides: {why}")))
}

fn parse(text: &str) -> Result<TaskOverride, String> {
    let value: Value = serde_json::from_str(text).map_err(|err| format!("no JSON: {err}"))?;
    if !value.is_object() {
        return Err("it is no JSON object, like {\"containerOverrides\": []}".to_owned());
    }
    let request = serde_json::json!({ "overrides": value }).to_string();
    let decoded = decode::<RunTaskRequest>(request.as_bytes()).map_err(|err| err.message)?;
    // ECS would ignore it without a word, and the task would run without it.
    if let Some(path) = decoded.unknown.first() {
        let path = path.strip_prefix("overrides.").unwrap_or(path);
        return Err(format!("ECS knows no member {path}"));
    }
    Ok(decoded.input.overrides.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("{", "no JSON"),
            ("[]", "no JSON object"),
            (r#"{"cpus":"1"}"#, "no member cpus"),
            (r#"{"containerOverrides":[{"nme":"a"}]}"#, "nme"),
            (r#"{"cpu":[]}"#, "not expected"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(word), "{text}: {why}");
        }
        let err = read("file:///does/not/exist").unwrap_err();
        assert_eq!(err.exit_code(), 3);
    }

    #[test]
    fn files_and_text_are_taken() {
        let text = r#"{"containerOverrides":[{"name":"a","memory":5}],"cpu":"256"}"#;
        let parsed = read(text).unwrap();
        assert_eq!(serde_json::to_value(&parsed).unwrap()["cpu"], "256");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("overrides.json");
        std::fs::write(&file, text).unwrap();
        assert_eq!(read(&format!("file://{}", file.display())).unwrap(), parsed);
    }
}
