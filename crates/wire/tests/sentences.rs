//! Requests that AWS was seen to refuse, and the sentences with which it did: one JSON object a line
//! in `fixture/sentences.jsonl`. `?` in a sentence stands for a quotation mark of any kind, a final
//! full stop does not count, and the one that begins in lower case is a part of its sentence.
//! Those that need a task definition (`given`) are replayed against a whole installation, in
//! `tests/e2e/test_sentences.py`.

use serde::Deserialize;
use serde_json::Value;
use windlass_model::arn::Scope;
use windlass_wire::check::refuse;
use windlass_wire::convert::{create_cluster, register_task_definition};
use windlass_wire::{ApiError, ErrorCode, decode};

#[derive(Deserialize)]
struct Line {
    operation: String,
    request: Value,
    code: String,
    sentence: String,
    #[serde(default)]
    given: Option<Value>,
}

fn answer(line: &Line) -> Result<(), ApiError> {
    let scope = Scope {
        region: "us-east-1".into(),
        account: "000000000000".into(),
    };
    let body = line.request.to_string();
    match line.operation.as_str() {
        "RegisterTaskDefinition" => {
            let read = decode(body.as_bytes())?;
            register_task_definition(&scope, read.input, body.len())?;
            refuse(&read.violations, ErrorCode::Client)
        }
        "CreateCluster" => {
            let read = decode(body.as_bytes())?;
            create_cluster(read.input)?;
            refuse(&read.violations, ErrorCode::InvalidParameter)
        }
        other => panic!("{other} is not replayed here"),
    }
}

fn is_alike(sentence: &str, said: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('.').replace(['‘', '’', '\''], "?");
    let (sentence, said) = (plain(sentence), plain(said));
    if sentence.starts_with("should ") {
        return said.ends_with(&sentence);
    }
    said == sentence
}

#[test]
fn requests_are_refused_in_the_words_of_aws() {
    let lines = include_str!("fixture/sentences.jsonl").lines();
    let lines: Vec<Line> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut other = Vec::new();
    let mut count = 0;
    for line in lines.iter().filter(|line| line.given.is_none()) {
        count += 1;
        let said = match answer(line) {
            Ok(()) => String::from("taken"),
            Err(error) if error.code.as_str() != line.code => error.to_string(),
            Err(error) => error.message,
        };
        if !is_alike(&line.sentence, &said) {
            other.push(format!("{}\n    {said}", line.sentence));
        }
    }
    assert_eq!(other, [""; 0], "{} of {count}", other.len());
    assert_eq!(count, 71);
}
