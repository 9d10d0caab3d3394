//! RunTask and StartTask from bytes to commands.

use serde_json::{Value, json};
use windlass_model::arn::Scope;
use windlass_model::command::{RunTask, StartTask};
use windlass_model::definition::{DefinitionKey, DefinitionRef};
use windlass_model::id::Name;
use windlass_model::task::Launch;
use windlass_wire::convert::{run_task, start_task};
use windlass_wire::ops::run_task::RunTaskRequest;
use windlass_wire::ops::start_task::StartTaskRequest;
use windlass_wire::{ApiError, ErrorCode, decode};

fn scope() -> Scope {
    Scope {
        region: "us-east-1".into(),
        account: "000000000000".into(),
    }
}

fn read(request: &Value) -> Result<RunTask, ApiError> {
    let given = decode::<RunTaskRequest>(request.to_string().as_bytes())?;
    run_task(&scope(), given.input, [0; 32])
}

fn read_start(request: &Value) -> Result<(StartTask, Vec<String>), ApiError> {
    let given = decode::<StartTaskRequest>(request.to_string().as_bytes())?;
    start_task(&scope(), given.input)
}

#[test]
fn what_is_not_given_has_its_default() {
    let run = read(&json!({ "taskDefinition": "app" })).unwrap();
    assert_eq!(run.task.cluster.as_str(), "default");
    assert_eq!((run.count, run.launch), (1, None));
    assert!(!run.task.enable_execute_command && !run.task.propagate_definition_tags);
    assert_eq!((run.task.group, run.task.started_by), (None, None));
    // Empty texts are as good as absent: the console and some SDKs send them.
    let empty = json!({ "taskDefinition": "app", "group": "", "startedBy": "",
                        "clientToken": "", "referenceId": "", "platformVersion": "" });
    let run = read(&empty).unwrap();
    assert_eq!((run.task.group, run.client_token), (None, None));
    assert_eq!((run.task.reference_id, run.platform_version), (None, None));
}

#[test]
fn what_is_given_is_read() {
    let run = read(&json!({
        "taskDefinition": "arn:aws:ecs:us-east-1:000000000000:task-definition/app:3",
        "cluster": "arn:aws:ecs:us-east-1:000000000000:cluster/web",
        "count": 10,
        "launchType": "FARGATE",
        "networkConfiguration": { "awsvpcConfiguration": {
            "subnets": ["subnet-1"], "assignPublicIp": "ENABLED" } },
        "overrides": { "cpu": "1 vCPU", "containerOverrides": [
            { "name": "main", "command": ["x"], "environment": [{ "name": "A", "value": "b" }] },
        ] },
        "propagateTags": "TASK_DEFINITION",
        "clientToken": "token",
    }))
    .unwrap();
    let key = DefinitionKey {
        family: Name::new("app").unwrap(),
        revision: 3,
    };
    assert_eq!(run.task.definition, DefinitionRef::Exact(key));
    assert_eq!(run.task.cluster.as_str(), "web");
    assert_eq!((run.count, run.launch), (10, Some(Launch::Fargate)));
    assert!(run.task.network.unwrap().assign_public_ip);
    assert_eq!(run.task.overrides.cpu, Some(1_024));
    let container = &run.task.overrides.containers[0];
    assert_eq!(container.command.as_deref(), Some(&["x".to_owned()][..]));
    assert!(run.task.propagate_definition_tags);
}

#[test]
fn a_run_is_refused_in_these_words() {
    let many: Vec<String> = (0..17).map(|n| format!("subnet-{n}")).collect();
    let network =
        |given: Value| json!({ "networkConfiguration": { "awsvpcConfiguration": given } });
    for (changes, message) in [
        (
            json!({ "taskDefinition": "" }),
            "TaskDefinition should not be null or empty",
        ),
        (json!({ "count": 0 }), "count should be between 1 and 10."),
        (json!({ "count": 11 }), "count should be between 1 and 10."),
        (
            json!({ "launchType": "EC2",
                    "capacityProviderStrategy": [{ "capacityProvider": "FARGATE" }] }),
            "Specifying both a launch type and capacity provider strategy is not supported. Remove \
             one and try again.",
        ),
        (
            network(json!({ "subnets": [] })),
            "subnets can not be empty.",
        ),
        (
            network(json!({ "subnets": many })),
            "subnets can have at most 16 items.",
        ),
        (
            json!({ "launchType": "FARGATE", "placementStrategy": [{ "type": "random" }] }),
            "Placement strategies are not supported with FARGATE launch type.",
        ),
        (
            json!({ "propagateTags": "SERVICE" }),
            "propagateTags value SERVICE is not valid for tasks. It should be TASK_DEFINITION or \
             NONE.",
        ),
        (
            json!({ "overrides": { "taskRoleArn": "not a role" } }),
            "Role is not valid",
        ),
        (
            json!({ "tags": [{ "key": "a", "value": "1" }, { "key": "a", "value": "2" }] }),
            "The tag key 'a' is given more than once.",
        ),
        (
            json!({ "tags": [{ "key": "a", "value": "a(b)!" }] }),
            "Some tags contain invalid characters. Valid characters: UTF-8 letters, spaces, \
             numbers and _ . / = + - : @.",
        ),
        (
            json!({ "startedBy": "s".repeat(129) }),
            "startedBy longer than 128.",
        ),
        (
            json!({ "group": "g".repeat(256) }),
            "group longer than 255.",
        ),
        (
            json!({ "overrides": { "executionRoleArn": "r".repeat(8_192) } }),
            "The overrides have 8215 characters. The maximum is 8192.",
        ),
        (
            json!({ "overrides": { "containerOverrides": [{ "name": "a b" }] } }),
            "Override for container named a b is not a container in the TaskDefinition.",
        ),
        (
            json!({ "overrides": { "containerOverrides": [
                { "name": "main", "cpu": 1 }, { "name": "main", "cpu": 2 }] } }),
            "Container main is overridden more than once.",
        ),
        (
            json!({ "overrides": { "containerOverrides": [{ "name": "main", "memory": 3 }] } }),
            "Override of 'memory' for container main must be at least 4 MiB.",
        ),
        (
            json!({ "overrides": { "containerOverrides": [
                { "name": "main", "command": ["a\u{0}"] }] } }),
            "Override of 'command' for container main contains a NUL character.",
        ),
        (
            json!({ "clientToken": "t".repeat(65) }),
            "clientToken longer than 64.",
        ),
        // Kept with each of ten tasks: without a limit, more than a turn can hold.
        (
            json!({ "referenceId": "r".repeat(1_025) }),
            "referenceId has at most 1024 characters.",
        ),
        (
            json!({ "group": "service:web" }),
            "Invalid group: the prefix 'service:' is reserved for services.",
        ),
        (
            json!({ "tags": [{ "key": "aws:x", "value": "y" }] }),
            "Tag keys starting with 'aws:' are reserved for system use: 'aws:x'",
        ),
    ] {
        let mut request = json!({ "taskDefinition": "app" });
        for (name, value) in changes.as_object().unwrap() {
            request[name.as_str()] = value.clone();
        }
        let err = read(&request).expect_err(message);
        assert_eq!(err.message, message, "{changes}");
        assert_eq!(err.code, ErrorCode::InvalidParameter, "{changes}");
    }
    let bad_launch = json!({ "taskDefinition": "app", "launchType": "MOON" });
    let err = read(&bad_launch).unwrap_err();
    assert_eq!(err.code, ErrorCode::Client);
    assert_eq!(
        err.message,
        "launch type should be one of [EC2,FARGATE,EXTERNAL]"
    );
}

#[test]
fn a_start_names_its_instances() {
    let id = "0".repeat(32);
    let given = json!({ "taskDefinition": "app", "containerInstances": [id] });
    let (start, missing) = read_start(&given).unwrap();
    assert_eq!((start.instances.len(), missing), (1, vec![]));
    let arn = |rest: &str| format!("arn:aws:ecs:us-east-1:000000000000:container-instance/{rest}");
    // Ids of the old form are nobody's here.
    let old = "a".repeat(36);
    let given = json!({ "taskDefinition": "app", "containerInstances": [old] });
    let (start, missing) = read_start(&given).unwrap();
    assert_eq!(start.instances, []);
    assert_eq!(missing, [arn(&format!("default/{old}"))]);
    let elsewhere = arn(&format!("other/{id}"));
    let given = json!({ "taskDefinition": "app", "containerInstances": [elsewhere] });
    assert_eq!(
        read_start(&given).unwrap_err().message,
        "Invalid identifier: Identifier is for cluster other. Your cluster is default"
    );
    let given = json!({ "taskDefinition": "app", "containerInstances": [id],
                        "startedBy": "s".repeat(37) });
    assert_eq!(
        read_start(&given).unwrap_err().message,
        "startedBy longer than 36."
    );
    let none = json!({ "taskDefinition": "app", "containerInstances": [] });
    let err = read_start(&none).unwrap_err();
    assert_eq!(err.message, "Container Instances cannot be empty.");
    let many = json!({ "taskDefinition": "app", "containerInstances": vec![id; 11] });
    let err = read_start(&many).unwrap_err();
    assert_eq!(
        err.message,
        "Container Instances cannot be greater than 10."
    );
}

#[test]
fn a_caller_names_itself_as_it_likes() {
    for text in [
        "ECS Deploy",
        "AWS Step Functions",
        "data-eng@example.com",
        "Ada, team a",
        "ü".repeat(128).as_str(),
    ] {
        let given = json!({ "taskDefinition": "app", "startedBy": text, "group": text,
                            "clientToken": "two words" });
        let run = read(&given).unwrap();
        assert_eq!(run.task.started_by.as_deref(), Some(text));
        assert_eq!(run.task.group.as_deref(), Some(text));
    }
    let role = json!({ "taskDefinition": "app", "overrides": { "taskRoleArn": "app" } });
    let role = read(&role).unwrap().task.overrides.task_role;
    assert_eq!(role.as_deref(), Some("arn:aws:iam::000000000000:role/app"));
}
