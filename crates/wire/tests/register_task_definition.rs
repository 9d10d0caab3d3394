//! RegisterTaskDefinition from bytes to model and back: what is refused, in which words, and what a
//! client gets back of what it gave. A member that comes back otherwise, or that was not given, makes
//! Terraform plan a replacement for ever.

use serde_json::{Value, json};
use windlass_model::arn::Scope;
use windlass_model::definition::{DefinitionKey, DefinitionState, TaskDefinition};
use windlass_model::id::Millis;
use windlass_model::status::DefinitionStatus;
use windlass_wire::convert::{register_task_definition, show_definition};
use windlass_wire::ops::register_task_definition::RegisterTaskDefinitionRequest;
use windlass_wire::{ApiError, ErrorCode, decode};

/// What DescribeTaskDefinition shows of a registration.
fn registered(request: &Value) -> Result<Value, ApiError> {
    let body = request.to_string();
    let given = decode::<RegisterTaskDefinitionRequest>(body.as_bytes())?;
    assert_eq!(
        given.unknown, [""; 0],
        "a member that the model does not know"
    );
    let template = register_task_definition(given.input, body.len())?.template;
    let key = DefinitionKey {
        family: template.family.clone(),
        revision: 1,
    };
    let definition = TaskDefinition {
        key: key.clone(),
        template,
        registered_at: Millis(1_700_000_000_000),
        registered_by: "arn:aws:iam::000000000000:user/dev".into(),
    };
    let state = DefinitionState {
        key,
        status: DefinitionStatus::Active,
        deregistered_at: None,
        delete_requested_at: None,
        tags: Vec::new(),
    };
    let scope = Scope {
        region: "us-east-1".into(),
        account: "000000000000".into(),
    };
    Ok(serde_json::to_value(show_definition(&scope, &definition, &state)).unwrap())
}

/// Sets members; those of the first container when they begin with a dot.
fn with(mut request: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match name.strip_prefix('.') {
            Some(name) => request["containerDefinitions"][0][name] = value.clone(),
            None => request[name.as_str()] = value.clone(),
        }
    }
    request
}

fn minimal() -> Value {
    json!({
        "family": "app",
        "containerDefinitions": [{ "name": "main", "image": "busybox", "memory": 128 }],
    })
}

fn fargate() -> Value {
    let more = json!({
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
    });
    with(minimal(), &more)
}

fn refused(base: fn() -> Value, changes: &Value, message: &str) {
    let request = with(base(), changes);
    match registered(&request) {
        Err(err) => {
            assert_eq!(err.message, message, "{changes}");
            assert_eq!(err.code, ErrorCode::Client, "{changes}");
        }
        Ok(_) => panic!("taken: {changes}"),
    }
}

const BAD_CPU: &str = "Invalid 'cpu' setting for task. For more information, see the \
                       Troubleshooting section of the Amazon ECS Developer Guide.";
const BAD_MEMORY: &str = "Invalid 'memory' setting for task. For more information, see the \
                          Troubleshooting section of the Amazon ECS Developer Guide.";

#[test]
fn a_definition_is_refused_in_these_words() {
    let two = |second: Value| {
        let mut containers = minimal()["containerDefinitions"].clone();
        containers.as_array_mut().unwrap().push(second);
        json!({ "containerDefinitions": containers })
    };
    let many: Vec<Value> = (0..11)
        .map(|n| json!({ "name": format!("c{n}"), "image": "busybox", "memory": 128 }))
        .collect();
    let side = |more: Value| {
        let mut side = json!({ "name": "side", "image": "busybox", "memory": 128 });
        for (name, value) in more.as_object().unwrap() {
            side[name.as_str()] = value.clone();
        }
        two(side)
    };
    for (changes, message) in [
        (json!({ "family": "" }), "Family can not be blank."),
        (
            json!({ "family": "a b" }),
            "Family contains invalid characters.",
        ),
        (
            json!({ "containerDefinitions": [] }),
            "Container list cannot be empty.",
        ),
        (
            json!({ "containerDefinitions": many }),
            "Task definition contains too many containers: 11. The maximum is 10.",
        ),
        (
            json!({ ".name": "" }),
            "Container.name should not be null or empty.",
        ),
        (
            json!({ ".image": "" }),
            "Container.image should not be null or empty.",
        ),
        (json!({ "tags": [] }), "Tags can not be empty."),
        (json!({ "cpu": "fast" }), BAD_CPU),
        (json!({ "cpu": "127" }), BAD_CPU),
        (json!({ "cpu": "256", ".cpu": 257 }), BAD_CPU),
        (json!({ "memory": "much" }), BAD_MEMORY),
        (json!({ "memory": "127" }), BAD_MEMORY),
        (
            json!({ ".memory": null }),
            "Invalid setting for container 'main'. At least one of 'memory' or \
             'memoryReservation' must be specified.",
        ),
        (
            json!({ ".memoryReservation": 129 }),
            "Invalid setting for container 'main'. 'memory' must be greater than \
             'memoryReservation'.",
        ),
        (
            json!({ ".essential": false }),
            "Task definition does not have an essential container. At least one container must be \
             essential.",
        ),
        (
            two(json!({ "name": "main", "image": "busybox", "memory": 128 })),
            "Container names must be unique. 'main' is used more than once.",
        ),
        (
            json!({ ".mountPoints": [{ "sourceVolume": "data", "containerPath": "/data" }] }),
            "Unknown volume 'data'.",
        ),
        (
            json!({ "volumes": [{ "name": "v" }, { "name": "v" }] }),
            "Volume names must be unique. 'v' is used more than once.",
        ),
        (
            side(json!({ "dependsOn": [{ "containerName": "none", "condition": "START" }] })),
            "Container 'side' depends on container 'none', which does not exist.",
        ),
        (
            side(json!({ "dependsOn": [{ "containerName": "main", "condition": "SUCCESS" }] })),
            "Container 'side' depends on the end of 'main', which is essential: its end would \
             stop the task. Set essential to false.",
        ),
        (
            side(json!({ "dependsOn": [{ "containerName": "main", "condition": "HEALTHY" }] })),
            "Container 'side' depends on the health of 'main', which has no health check.",
        ),
        (
            json!({ ".dependsOn": [{ "containerName": "main", "condition": "START" }] }),
            "Containers depend on each other in a circle: main.",
        ),
        (
            json!({ ".portMappings": [{ "containerPort": 70000 }] }),
            "Invalid port mapping in container 'main': 'containerPort' 70000 is not between 0 and \
             65535.",
        ),
        (
            json!({ ".portMappings": [{ "hostPort": 80 }] }),
            "Invalid port mapping in container 'main': 'containerPort' or 'containerPortRange' is \
             required.",
        ),
        (
            json!({ ".portMappings": [
                { "containerPort": 80, "hostPort": 80 }, { "containerPort": 81, "hostPort": 80 },
            ] }),
            "Invalid 'hostPort' in container 'main': 80 is used more than once in the task \
             definition.",
        ),
        (
            json!({ ".portMappings": [{ "containerPort": 22, "hostPort": 22 }] }),
            "Invalid 'hostPort' in container 'main': 22 is reserved.",
        ),
        (
            json!({ "networkMode": "awsvpc",
                    ".portMappings": [{ "containerPort": 80, "hostPort": 8080 }] }),
            "When networkMode=awsvpc, the host ports and container ports in port mappings must \
             match.",
        ),
        (
            json!({ "networkMode": "awsvpc", ".links": ["side"] }),
            "Links are not supported when networkMode=awsvpc",
        ),
        (
            json!({ "networkMode": "none", ".portMappings": [{ "containerPort": 80 }] }),
            "Port mappings are not supported when networkMode=none",
        ),
        (
            json!({ "networkMode": "awsvpc", ".hostname": "web" }),
            "Hostname is not supported on container when networkMode=awsvpc",
        ),
        (
            json!({ ".healthCheck": { "command": ["CMD", "true"], "interval": 4 } }),
            "Container 'main': health check interval must be between 5 and 300.",
        ),
        (
            json!({ ".logConfiguration": { "logDriver": "awslogs" } }),
            "Log driver awslogs requires options: awslogs-region, awslogs-group",
        ),
        (
            json!({ ".environment": [{ "name": "A=B", "value": "c" }] }),
            "Container 'main': a name in 'environment' is empty or contains '='.",
        ),
        (
            json!({ "ephemeralStorage": { "sizeInGiB": 20 } }),
            "The ephemeral storage size must be between 21 and 200 GiB.",
        ),
    ] {
        refused(minimal, &changes, message);
    }
}

#[test]
fn a_definition_has_its_size() {
    let request = with(minimal(), &json!({ ".command": ["x".repeat(65_536)] }));
    let length = request.to_string().len();
    let message = format!("Actual length: '{length}'. Max allowed length is '65536' bytes.");
    assert_eq!(registered(&request).unwrap_err().message, message);
}

#[test]
fn fargate_refuses_what_it_has_not() {
    assert!(registered(&fargate()).is_ok());
    for (changes, message) in [
        (
            json!({ "cpu": null }),
            "Fargate requires that 'cpu' be defined at the task level.",
        ),
        (
            json!({ "memory": null }),
            "Fargate requires that 'memory' be defined at the task level.",
        ),
        (
            json!({ "memory": "4096" }),
            "No Fargate configuration exists for given values.",
        ),
        (
            json!({ "networkMode": null }),
            "Fargate only supports network mode ‘awsvpc’.",
        ),
        (
            json!({ ".privileged": true }),
            "Container 'main': privileged is not supported on Fargate.",
        ),
        (
            json!({ "pidMode": "host" }),
            "Tasks using the Fargate launch type do not support pidMode 'host'. The supported \
             value for pidMode is 'task'.",
        ),
        (
            json!({ "volumes": [{ "name": "v", "host": { "sourcePath": "/srv" } }] }),
            "Volume 'v': host.sourcePath and dockerVolumeConfiguration are not supported on \
             Fargate.",
        ),
        (
            json!({ ".linuxParameters": { "capabilities": { "add": ["NET_ADMIN"] } } }),
            "Container 'main': adding a capability other than SYS_PTRACE is not supported on \
             Fargate.",
        ),
        (
            json!({ ".logConfiguration": { "logDriver": "syslog" } }),
            "Container 'main': log driver syslog is not supported on Fargate.",
        ),
    ] {
        refused(fargate, &changes, message);
    }
}

/// Every member that must come back as it was given.
fn full() -> Value {
    serde_json::from_str(include_str!("fixture/full_definition.json")).unwrap()
}

/// What differs, by path; a member of `given` that is absent from `shown` too.
fn lost(path: &str, given: &Value, shown: &Value, out: &mut Vec<String>) {
    match (given, shown) {
        (Value::Object(given), Value::Object(shown)) => {
            for (name, value) in given {
                let shown = shown.get(name).unwrap_or(&Value::Null);
                lost(&format!("{path}.{name}"), value, shown, out);
            }
        }
        (Value::Array(given), Value::Array(shown)) if given.len() == shown.len() => {
            for (at, (given, shown)) in given.iter().zip(shown).enumerate() {
                lost(&format!("{path}[{at}]"), given, shown, out);
            }
        }
        (given, shown) if given == shown => {}
        (given, shown) => out.push(format!("{path}: gave {given}, shown {shown}")),
    }
}

#[test]
fn what_was_given_comes_back() {
    let given = full();
    let shown = registered(&given).unwrap();
    let mut out = Vec::new();
    lost("", &given, &shown, &mut out);
    assert_eq!(out, [""; 0]);
    // And nothing that was not given, where that would be a difference.
    lost(
        "",
        &shown["containerDefinitions"],
        &given["containerDefinitions"],
        &mut out,
    );
    out.retain(|line| {
        // Empty lists and these defaults are equal to absence for every client.
        !line.ends_with("gave [], shown null") && !line.contains(".hostPort: gave 0")
    });
    assert_eq!(out, [""; 0]);
}

#[test]
fn what_was_not_given_stays_absent() {
    let shown = registered(&minimal()).unwrap();
    for member in [
        "taskRoleArn",
        "executionRoleArn",
        "cpu",
        "memory",
        "pidMode",
        "ipcMode",
        "runtimePlatform",
        "proxyConfiguration",
        "ephemeralStorage",
        "inferenceAccelerators",
        "enableFaultInjection",
        "deregisteredAt",
    ] {
        let absent = shown.get(member).is_none_or(Value::is_null);
        assert!(absent, "{member}: {}", shown[member]);
    }
    let container = shown["containerDefinitions"][0].as_object().unwrap();
    for (name, value) in container {
        let expected = match name.as_str() {
            "name" => json!("main"),
            "image" => json!("busybox"),
            "memory" => json!(128),
            "cpu" => json!(0),
            "essential" => json!(true),
            _ => json!([]),
        };
        assert_eq!(*value, expected, "{name}");
    }
}

#[test]
fn what_ecs_normalises_is_normalised() {
    for (changes, path, expected) in [
        (json!({ "cpu": ".5 vCPU" }), "/cpu", json!("512")),
        (json!({ "memory": "1 GB" }), "/memory", json!("1024")),
        (json!({ "taskRoleArn": "" }), "/taskRoleArn", Value::Null),
        (
            json!({ ".user": "" }),
            "/containerDefinitions/0/user",
            Value::Null,
        ),
        (
            json!({ "networkMode": "awsvpc", ".portMappings": [{ "containerPort": 80 }] }),
            "/containerDefinitions/0/portMappings/0",
            json!({ "containerPort": 80, "hostPort": 80, "protocol": "tcp" }),
        ),
        (
            json!({ ".portMappings": [{ "containerPort": 80 }] }),
            "/containerDefinitions/0/portMappings/0",
            json!({ "containerPort": 80, "hostPort": 0, "protocol": "tcp" }),
        ),
        (
            json!({ ".healthCheck": { "command": ["CMD", "true"] } }),
            "/containerDefinitions/0/healthCheck",
            json!({ "command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3 }),
        ),
    ] {
        let shown = registered(&with(minimal(), &changes)).unwrap();
        let found = shown.pointer(path).cloned().unwrap_or(Value::Null);
        assert_eq!(found, expected, "{changes}");
    }
}
