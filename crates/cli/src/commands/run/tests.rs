//! What is asked of RunTask for which command line, and which exit code follows.

use super::follow::code_of;
use super::*;
use crate::args::{Args, Verb, parse};
use serde_json::Value;

fn args(line: &str) -> RunArgs {
    let words = ["windlass", "run"]
        .into_iter()
        .chain(line.split_whitespace());
    let parsed: Args = parse(words.map(Into::into)).unwrap();
    match parsed.verb {
        Verb::Run(args) => *args,
        _ => panic!("{line}"),
    }
}

fn definition(mut extra: Value) -> TaskDefinition {
    extra["taskDefinitionArn"] = "arn:web:1".into();
    extra["containerDefinitions"] = json!([{ "name": "side", "essential": false }, { "name": "app" }, { "name": "log", "essential": true }]);
    serde_json::from_value(extra).unwrap()
}

fn asked(line: &str, extra: Value) -> Value {
    serde_json::to_value(request(&args(line), &definition(extra)).unwrap()).unwrap()
}

#[test]
fn a_request_holds_what_was_given_and_no_more() {
    assert_eq!(
        asked("web", json!({})),
        json!({ "taskDefinition": "arn:web:1" })
    );
    assert_eq!(
        asked(
            "web --cluster c --group g --started-by me --cpu 256 --memory 512 --env A=1 -- x -y",
            json!({})
        ),
        json!({
            "taskDefinition": "arn:web:1", "cluster": "c", "group": "g", "startedBy": "me",
            "overrides": {
                "cpu": "256", "memory": "512",
                "containerOverrides": [{
                    "name": "app", "command": ["x", "-y"], "environment": [{ "name": "A", "value": "1" }],
                }],
            },
        })
    );
}

#[test]
fn the_definition_decides_network_and_launch_type() {
    let extra = json!({ "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"] });
    let request = asked("web", extra.clone());
    assert_eq!(request["launchType"], "FARGATE");
    let subnets = &request["networkConfiguration"]["awsvpcConfiguration"]["subnets"];
    assert_eq!(subnets, &json!(["subnet-default"]));
    assert_eq!(asked("web --launch-type ec2", extra)["launchType"], "EC2");
}

#[test]
fn a_container_that_is_not_there_is_refused() {
    let err = request(&args("web --name none"), &definition(json!({}))).unwrap_err();
    assert_eq!(err.exit_code(), 64);
    assert!(err.to_string().contains("side, app, log"), "{err}");
}

#[test]
fn single_arguments_come_on_top_of_the_overrides() {
    let given = json!({
        "cpu": "128", "taskRoleArn": "arn:x", "containerOverrides": [
            { "name": "app", "memory": 5, "command": ["a"], "environment": [
                { "name": "A", "value": "1" }, { "name": "B", "value": "2" }] },
            { "name": "side", "cpu": 3 }],
    });
    let given = given.to_string();
    let line = format!("web --override {given} --env B=3 --cpu 256 -- b");
    let overrides = &asked(&line, json!({}))["overrides"];
    assert_eq!(
        overrides,
        &json!({
            "cpu": "256", "taskRoleArn": "arn:x", "containerOverrides": [
                { "name": "app", "memory": 5, "command": ["b"], "environment": [
                    { "name": "A", "value": "1" }, { "name": "B", "value": "3" }] },
                { "name": "side", "cpu": 3 }],
        })
    );
}

#[test]
fn files_are_told_from_families() {
    for (source, expected) in [
        ("web", false),
        ("web:3", false),
        ("web.json", true),
        ("./web", true),
        ("-", true),
        ("arn:aws:ecs:us-east-1:0:task-definition/web:3", false),
    ] {
        assert_eq!(is_file(source), expected, "{source}");
    }
}

#[test]
fn refusals_come_with_their_mend() {
    let failures = vec![Unplaced {
        reason: Some("RESOURCE:MEMORY".into()),
        ..Default::default()
    }];
    // Two machines refused it alike, and a third call was not made.
    let mut started = Started {
        wanted: 25,
        tasks: vec![Task::default(); 17],
        failures: [failures.clone(), failures].concat(),
        refused: None,
    };
    let failure = started.failure(true).unwrap();
    assert_eq!(failure.exit_code(), 2);
    assert_eq!(
        failure.to_string(),
        "8 of 25 tasks could not be placed: RESOURCE:MEMORY; the other 17 run; `windlass nodes` \
         shows what is left"
    );
    started.failures.clear();
    assert!(started.failure(true).is_none());
    started.refused = Some(Failure::Unreachable("no server answers".into()));
    let failure = started.failure(false).unwrap();
    assert_eq!(failure.exit_code(), 69);
    assert_eq!(
        failure.to_string(),
        "8 of 25 tasks were not started: no server answers; the other 17 are stopped"
    );
}

#[test]
fn the_exit_code_is_of_the_container_that_ended_the_task() {
    let task = |codes: [Option<i32>; 3]| -> Task {
        let containers = ["side", "app", "log"].into_iter().zip(codes);
        let containers: Vec<Value> = containers
            .map(|(name, code)| json!({ "name": name, "exitCode": code }))
            .collect();
        serde_json::from_value(json!({ "containers": containers })).unwrap()
    };
    let ended = |name: &str| {
        let entry = json!({ "event": "stopWanted", "atMs": 0, "detail": { "container": name } });
        vec![serde_json::from_value(entry).unwrap()]
    };
    let definition = definition(json!({}));
    let all = task([Some(7), Some(0), Some(143)]);
    for (wanted, entries, expected) in [
        (None, vec![], Some(0)),
        (None, ended("log"), Some(143)),
        (None, ended("app"), Some(0)),
        (Some("side"), ended("app"), Some(7)),
    ] {
        assert_eq!(code_of(&definition, &all, wanted, &entries), expected);
    }
    assert_eq!(
        code_of(&definition, &task([None, None, Some(3)]), None, &[]),
        Some(3)
    );
    assert_eq!(
        code_of(&definition, &task([Some(1), None, None]), None, &[]),
        None
    );
    assert_eq!(
        code_of(&definition, &task([None, Some(0), None]), Some("log"), &[]),
        None
    );
    assert_eq!(
        code_of(&definition, &task([None, Some(-1), None]), None, &[]),
        Some(125)
    );
}
