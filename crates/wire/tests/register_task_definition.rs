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
    let scope = Scope {
        region: "us-east-1".into(),
        account: "000000000000".into(),
    };
    let template = register_task_definition(&scope, given.input, body.len())?.template;
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
            "Too many containers.",
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
        (
            json!({ "cpu": "256", ".cpu": 257 }),
            "The sum of all container 'cpu' values cannot be greater than the value of the task \
             'cpu'.",
        ),
        (json!({ "memory": "much" }), BAD_MEMORY),
        (
            json!({ "memory": "127" }),
            "The 'memory' setting for container 'main' is greater than for the task",
        ),
        (
            json!({ "memory": "200", ".memory": null, ".memoryReservation": 201 }),
            BAD_MEMORY,
        ),
        (
            json!({ ".memory": null }),
            "At least one of 'memory' or 'memoryReservation' must be specified",
        ),
        (
            json!({ ".memoryReservation": 129 }),
            "'memory' must be greater than or equal to 'memoryReservation'",
        ),
        (
            json!({ ".essential": false }),
            "Task definition doesn't have any essential container",
        ),
        (
            two(json!({ "name": "main", "image": "busybox", "memory": 128 })),
            "Container names must be unique within a task definition",
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
            "Cannot depend on container + 'none' because it does not exist",
        ),
        (
            side(json!({ "dependsOn": [{ "containerName": "main", "condition": "SUCCESS" }] })),
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential \
             container",
        ),
        (
            side(json!({ "dependsOn": [{ "containerName": "main", "condition": "HEALTHY" }] })),
            "A dependency container with HEALTHY condition must have health check configured",
        ),
        (
            json!({ ".dependsOn": [{ "containerName": "main", "condition": "START" }] }),
            "Containers depend on each other in a circle: main.",
        ),
        (
            json!({ ".portMappings": [{ "containerPort": 70000 }] }),
            "Invalid 'containerPort' setting for container 'main'.",
        ),
        (
            json!({ ".portMappings": [{ "hostPort": 80 }] }),
            "Invalid 'containerPort' setting for container 'main'.",
        ),
        (
            json!({ ".portMappings": [
                { "containerPort": 80, "hostPort": 80 }, { "containerPort": 81, "hostPort": 80 },
            ] }),
            "Invalid 'hostPort' in container 'main': 80 is used more than once in the task \
             definition.",
        ),
        (
            json!({ "networkMode": "awsvpc",
                    ".portMappings": [{ "containerPort": 80, "hostPort": 8080 }] }),
            "When networkMode=awsvpc, the host ports and container ports in port mappings must \
             match.",
        ),
        (
            json!({ "networkMode": "awsvpc", ".links": ["side"] }),
            "Links are not supported when networkMode=awsvpc.",
        ),
        (
            json!({ "networkMode": "none", ".portMappings": [{ "containerPort": 80 }] }),
            "Port mappings are not supported when networkMode=none.",
        ),
        (
            json!({ "networkMode": "awsvpc", ".hostname": "web" }),
            "hostname is not supported on container when networkMode=awsvpc.",
        ),
        (
            json!({ ".healthCheck": { "command": ["CMD", "true"], "interval": 4 } }),
            "Health check interval must be greater than or equal to the minimum allowed value 5 for \
             container 'main'",
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
            "EphemeralStorage size should be at least 21",
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
            "No Fargate configuration exists for given values: 256 CPU, 4096 memory. See the Amazon \
             ECS documentation for the valid values.",
        ),
        (
            json!({ "networkMode": null }),
            "Fargate only supports network mode 'awsvpc'.",
        ),
        (
            json!({ ".privileged": true }),
            "Fargate requires that the ‘privileged’ setting be ‘false’ at the container level.",
        ),
        (
            json!({ "pidMode": "host" }),
            "Tasks using the Fargate launch type do not support pidMode 'host'. The supported \
             value for pidMode is 'task'.",
        ),
        (
            json!({ "volumes": [{ "name": "v", "host": { "sourcePath": "/srv" } }] }),
            "Fargate compatible task definitions do not support sourcePath",
        ),
        (
            json!({ ".linuxParameters": { "capabilities": { "add": ["NET_ADMIN"] } } }),
            "NET_ADMIN is not allowed on Fargate.",
        ),
        (
            json!({ ".logConfiguration": { "logDriver": "syslog" } }),
            "syslog is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]",
        ),
        (
            json!({ ".stopTimeout": 121 }),
            "Container 'main': stopTimeout must be between 2 and 120 seconds on Fargate.",
        ),
        (
            json!({ ".startTimeout": 1 }),
            "Container 'main': startTimeout must be between 2 and 120 seconds on Fargate.",
        ),
        (
            json!({ ".disableNetworking": true }),
            "Disable Networking is not supported on container when networkMode=awsvpc.",
        ),
        (
            json!({ "executionRoleArn": "arn:aws:iam::000000000000:role/r",
                    ".logConfiguration": { "logDriver": "awslogs", "options": {
                        "awslogs-group": "g", "awslogs-region": "r" } } }),
            "Fargate requires log configuration options to include awslogs-stream-prefix to support \
             log driver awslogs.",
        ),
    ] {
        refused(fargate, &changes, message);
    }
}

#[test]
fn other_launch_types_refuse_what_they_have_not() {
    for (changes, message) in [
        (
            json!({ "requiresCompatibilities": ["EXTERNAL"], "networkMode": "awsvpc" }),
            "Network mode 'awsvpc' is not supported by the EXTERNAL launch type.",
        ),
        (
            json!({ "requiresCompatibilities": ["EXTERNAL"], "volumes": [
                { "name": "v", "efsVolumeConfiguration": { "fileSystemId": "fs-1" } }] }),
            "EFS volumes are not supported by the EXTERNAL launch type.",
        ),
        (
            json!({ "requiresCompatibilities": ["MANAGED_INSTANCES"] }),
            "The MANAGED_INSTANCES launch type supports network modes 'awsvpc' and 'host' only.",
        ),
        (
            json!({ "requiresCompatibilities": ["MANAGED_INSTANCES"], "networkMode": "host",
                    ".logConfiguration": { "logDriver": "syslog" } }),
            "Container 'main': log driver syslog is not supported by the MANAGED_INSTANCES launch \
             type.",
        ),
    ] {
        refused(minimal, &changes, message);
    }
}

#[test]
fn a_definition_is_said_to_run_where_it_could() {
    let unasked = || with(fargate(), &json!({ "requiresCompatibilities": null }));
    let awslogs = json!({ "logDriver": "awslogs", "options": {
        "awslogs-group": "g", "awslogs-region": "r", "awslogs-stream-prefix": "p" } });
    let role = json!("arn:aws:iam::000000000000:role/r");
    for (request, expected) in [
        (minimal(), json!(["EXTERNAL", "EC2"])),
        (unasked(), json!(["EC2", "FARGATE"])),
        (with(unasked(), &json!({ "memory": "600" })), json!(["EC2"])),
        (
            with(unasked(), &json!({ ".logConfiguration": awslogs })),
            json!(["EC2"]),
        ),
        (
            with(
                unasked(),
                &json!({ ".logConfiguration": awslogs, "executionRoleArn": role }),
            ),
            json!(["EC2", "FARGATE"]),
        ),
        (
            with(
                unasked(),
                &json!({ ".ulimits": [
                { "name": "core", "softLimit": 1, "hardLimit": 1 }] }),
            ),
            json!(["EC2"]),
        ),
        (
            with(
                unasked(),
                &json!({ ".linuxParameters": { "sharedMemorySize": 64 } }),
            ),
            json!(["EC2"]),
        ),
        (
            with(unasked(), &json!({ ".stopTimeout": 121 })),
            json!(["EC2"]),
        ),
        (
            with(
                minimal(),
                &json!({ "volumes": [
                { "name": "v", "efsVolumeConfiguration": { "fileSystemId": "fs-1" } }] }),
            ),
            json!(["EC2"]),
        ),
        (
            with(
                minimal(),
                &json!({ "networkMode": "host",
                                     "requiresCompatibilities": ["MANAGED_INSTANCES"] }),
            ),
            json!(["EXTERNAL", "EC2", "MANAGED_INSTANCES"]),
        ),
    ] {
        let shown = registered(&request).unwrap();
        assert_eq!(shown["compatibilities"], expected, "{request}");
    }
}

#[test]
fn ports_are_refused_in_these_words() {
    let ports = |mode: &str, given: Value| json!({ "networkMode": mode, ".portMappings": given });
    let two = |mode: &str, first: Value, second: Value| {
        let container = |name: &str, ports: Value| json!({ "name": name, "image": "busybox", "memory": 128, "portMappings": ports });
        json!({ "networkMode": mode,
                "containerDefinitions": [container("main", first), container("side", second)] })
    };
    let invalid = |why: &str| format!("Invalid port mapping in container 'main': {why}");
    let name = |name: &str| {
        invalid(&format!(
            "the name {name:?} should have at most 64 characters and none that is not printed."
        ))
    };
    let range = || String::from("Invalid 'containerPortRange' setting for container 'main'.");
    let both = || {
        String::from(
            "Invalid port mapping for container 'main', cannot specify both single port and port \
             range.",
        )
    };
    let twice = |port: u16| {
        format!(
            "TCP container port '{port}' is used multiple times in task when networkMode=awsvpc."
        )
    };
    let long = "n".repeat(65);
    for (changes, message) in [
        (
            ports("bridge", json!([{ "containerPort": 80, "name": "a\n" }])),
            name("a\n"),
        ),
        (
            ports(
                "bridge",
                json!([{ "containerPort": 80, "containerPortRange": "90-91" }]),
            ),
            both(),
        ),
        (
            ports(
                "bridge",
                json!([{ "hostPort": 80, "containerPortRange": "90-91" }]),
            ),
            both(),
        ),
        (
            ports("bridge", json!([{ "containerPort": 80, "name": long }])),
            name(&long),
        ),
        (
            two(
                "bridge",
                json!([{ "containerPort": 80, "name": "web" }]),
                json!([{ "containerPort": 81, "name": "web" }]),
            ),
            "When networkMode=bridge, port mapping name is already used".into(),
        ),
        (
            ports("bridge", json!([{ "containerPortRange": "10-9" }])),
            range(),
        ),
        (
            ports("bridge", json!([{ "containerPortRange": "9" }])),
            range(),
        ),
        (
            ports("bridge", json!([{ "containerPortRange": "+9-10" }])),
            range(),
        ),
        (
            ports("bridge", json!([{ "containerPortRange": "1-65536" }])),
            range(),
        ),
        (
            ports("host", json!([{ "containerPortRange": "9-10" }])),
            invalid("'containerPortRange' is not supported when networkMode=host."),
        ),
        (
            ports(
                "bridge",
                json!([{ "containerPortRange": "8-10" }, { "containerPort": 9 }]),
            ),
            invalid("ports 9 overlap ports 8-10 of container 'main'."),
        ),
        (
            ports(
                "bridge",
                json!([{ "containerPortRange": "8-10" }, { "containerPortRange": "10-12" }]),
            ),
            invalid("ports 10-12 overlap ports 8-10 of container 'main'."),
        ),
        (
            two(
                "awsvpc",
                json!([{ "containerPortRange": "8-10" }]),
                json!([{ "containerPort": 10 }]),
            ),
            twice(10),
        ),
        (
            two(
                "awsvpc",
                json!([{ "containerPort": 80 }]),
                json!([{ "containerPort": 80 }]),
            ),
            twice(80),
        ),
    ] {
        refused(minimal, &changes, &message);
    }
    for taken in [
        // Names are documented in lower case, and nothing shows that ECS looks.
        ports("bridge", json!([{ "containerPort": 80, "name": "Web" }])),
        // These are refused where the task is placed, as any port that the machine keeps.
        ports(
            "host",
            json!([{ "containerPort": 22 }, { "containerPort": 51678 }]),
        ),
        ports(
            "bridge",
            json!([{ "containerPort": 2375, "hostPort": 2375 }]),
        ),
        ports(
            "awsvpc",
            json!([{ "containerPort": 53 }, { "containerPort": 53, "protocol": "udp" }]),
        ),
        ports(
            "bridge",
            json!([{ "containerPortRange": "8-10", "protocol": "udp" }, { "containerPort": 9 }]),
        ),
        ports(
            "bridge",
            json!([{ "containerPort": 80, "hostPort": 1 }, { "containerPort": 80, "hostPort": 2 }]),
        ),
        ports(
            "bridge",
            json!([{ "containerPort": 22, "hostPort": 22, "protocol": "udp" }]),
        ),
        two(
            "bridge",
            json!([{ "containerPortRange": "8-10" }]),
            json!([{ "containerPort": 10 }]),
        ),
    ] {
        assert_eq!(registered(&with(minimal(), &taken)).err(), None, "{taken}");
    }
}

#[test]
fn texts_that_would_become_more_than_one_are_refused() {
    let control = |field: &str, text: &str| {
        format!("Container 'main': '{field}' contains a control character: {text:?}")
    };
    let not = |field: &str, text: &str, what: &str| {
        format!("Container 'main': '{field}' {text:?} is not {what}.")
    };
    let image = || String::from("Container.image contains invalid characters.");
    let hosts = |name: &str, address: &str| {
        json!({ ".extraHosts": [
        { "hostname": name, "ipAddress": address }] })
    };
    for (changes, message) in [
        (json!({ ".image": "a b" }), image()),
        (json!({ ".image": "a\n" }), image()),
        (json!({ ".image": "a".repeat(256) }), image()),
        (
            json!({ ".image": "a@sha256:12" }),
            "Container 'main': the digest of an image is sha256: and 64 hexadecimal digits, not \
             'sha256:12'."
                .into(),
        ),
        (json!({ ".user": "a\nb" }), control("user", "a\nb")),
        (
            json!({ ".workingDirectory": "/a\u{0}" }),
            control("workingDirectory", "/a\0"),
        ),
        (
            json!({ "volumes": [{ "name": "v" }],
                    ".mountPoints": [{ "sourceVolume": "v", "containerPath": "/a\t" }] }),
            control("mountPoints", "/a\t"),
        ),
        (
            json!({ ".linuxParameters": { "tmpfs": [{ "containerPath": "/a\n", "size": 1 }] } }),
            control("linuxParameters.tmpfs", "/a\n"),
        ),
        (
            json!({ ".linuxParameters": { "devices": [{ "hostPath": "/dev/a\n" }] } }),
            control("linuxParameters.devices", "/dev/a\n"),
        ),
        (
            json!({ "volumes": [{ "name": "v", "host": { "sourcePath": "/a\n" } }] }),
            "Volume 'v': host.sourcePath contains a control character: \"/a\\n\"".into(),
        ),
        (
            json!({ ".command": ["a\u{0}b"] }),
            "Container 'main': 'command' contains a NUL character: \"a\\0b\"".into(),
        ),
        (
            json!({ ".healthCheck": { "command": ["CMD", "\u{0}"] } }),
            "Container 'main': 'healthCheck' contains a NUL character: \"\\0\"".into(),
        ),
        (
            json!({ ".hostname": "a\nb" }),
            not("hostname", "a\nb", "a host name of at most 64 characters"),
        ),
        (
            json!({ ".hostname": "a".repeat(65) }),
            not(
                "hostname",
                &"a".repeat(65),
                "a host name of at most 64 characters",
            ),
        ),
        (
            hosts("db\n10.0.0.1 other", "192.0.2.1"),
            not("extraHosts", "db\n10.0.0.1 other", "a host name"),
        ),
        (
            hosts("db", "192.0.2.1 other"),
            not("extraHosts", "192.0.2.1 other", "an IP address"),
        ),
        (
            json!({ ".dnsServers": ["192.0.2.1\noptions debug"] }),
            not("dnsServers", "192.0.2.1\noptions debug", "an IP address"),
        ),
        (
            json!({ ".dnsSearchDomains": ["a\nnameserver 192.0.2.1"] }),
            not(
                "dnsSearchDomains",
                "a\nnameserver 192.0.2.1",
                "a domain name",
            ),
        ),
        (
            json!({ ".links": ["side:a b"] }),
            not(
                "links",
                "a b",
                "a name that the linked container could have",
            ),
        ),
        (
            json!({ ".linuxParameters": { "capabilities": { "add": ["FLY"] } } }),
            "Container 'main': 'FLY' is not a Linux capability.".into(),
        ),
    ] {
        refused(minimal, &changes, &message);
    }
    for taken in [
        json!({ ".image": format!("r.example:5000/a/b_c@sha256:{}", "0".repeat(64)) }),
        json!({ ".hostname": "web_1.example.com", ".dnsSearchDomains": [".", "a.example."] }),
        json!({ ".environment": [{ "name": "A", "value": "two\nlines" }] }),
        json!({ ".linuxParameters": { "capabilities": { "drop": ["ALL"], "add": ["cap_chown"] } } }),
        hosts("db", "2001:db8::1"),
    ] {
        let shown = registered(&with(minimal(), &taken));
        assert_eq!(shown.err(), None, "{taken}");
    }
}

#[test]
fn kernel_parameters_are_the_containers_own() {
    let given = |name: &str, value: &str| {
        json!({ ".systemControls": [
        { "namespace": name, "value": value }] })
    };
    let refusal = |name: &str, why: &str| {
        format!("Container 'main': systemControls namespace '{name}' {why}.")
    };
    let foreign = "is no parameter of a container: those are net.*, fs.mqueue.* and the kernel's \
                   of System V IPC";
    let host = |mut changes: Value, member: &str| {
        changes[member] = json!("host");
        changes
    };
    for (changes, message) in [
        (
            given("kernel.core_pattern", "|x"),
            refusal("kernel.core_pattern", foreign),
        ),
        (given("net.a/b", "1"), refusal("net.a/b", foreign)),
        (
            host(given("net.core.somaxconn", "1"), "networkMode"),
            refusal(
                "net.core.somaxconn",
                "is not supported when networkMode=host",
            ),
        ),
        (
            host(given("kernel.shmmax", "1"), "ipcMode"),
            refusal("kernel.shmmax", "is not supported when ipcMode=host"),
        ),
        (
            given("fs.mqueue.msg_max", ""),
            refusal("fs.mqueue.msg_max", "has no value"),
        ),
        (
            json!({ ".systemControls": [{ "namespace": "net.a", "value": "1" },
                                        { "namespace": "net.a", "value": "2" }] }),
            refusal("net.a", "is given twice"),
        ),
    ] {
        refused(minimal, &changes, &message);
    }
}

#[test]
fn side_containers_fit_their_task() {
    let mesh = |container: &str, names: &[&str]| {
        let pairs: Vec<Value> = names
            .iter()
            .map(|name| json!({ "name": name, "value": "1" }))
            .collect();
        json!({ "networkMode": "awsvpc", "proxyConfiguration": {
            "type": "APPMESH", "containerName": container, "properties": pairs } })
    };
    let all = [
        "ProxyIngressPort",
        "ProxyEgressPort",
        "AppPorts",
        "IgnoredUID",
    ];
    let mut bridge = mesh("main", &all);
    bridge["networkMode"] = json!("bridge");
    let firelens = json!({ "type": "fluentbit" });
    let router = |name: &str| {
        json!({ "name": name, "image": "busybox", "memory": 128,
                                       "firelensConfiguration": firelens })
    };
    let logging = json!({ "name": "main", "image": "busybox", "memory": 128,
                          "logConfiguration": { "logDriver": "awsfirelens" } });
    let containers = |list: &[&Value]| json!({ "containerDefinitions": list });
    for (changes, message) in [
        (
            bridge,
            "APPMESH proxy configuration is only supported in networkMode=awsvpc",
        ),
        (mesh("none", &all), "Proxy container [none] does not exist."),
        (mesh("main", &all[1..]), "Ingress port not found"),
        (mesh("main", &all[..3]), "Ignored UID or GID not found"),
        (
            containers(&[&logging]),
            "When awsfirelens log driver is specified in log configuration, a firelens \
             configuration object must be configured in one of the containers.",
        ),
        (
            containers(&[&router("a")]),
            "When a firelensConfiguration object is specified, at least one container has to be \
             configured with the awsfirelens log driver.",
        ),
        (
            containers(&[&logging, &router("a"), &router("b")]),
            "At most one container of a task definition can have a firelensConfiguration, not 2.",
        ),
        (
            json!({ "trustedExecutionConfiguration": { "isolationMode": "CONFIDENTIAL_SANDBOX" } }),
            "Invalid trustedExecutionConfiguration: isolationMode CONFIDENTIAL_SANDBOX requires \
             an attestationPolicy.",
        ),
        (
            json!({ ".resourceRequirements": [{ "type": "GPU", "value": "0" }] }),
            "Container 'main': invalid value '0' of resource requirement GPU.",
        ),
        (
            json!({ ".resourceRequirements": [{ "type": "InferenceAccelerator", "value": "d" }] }),
            "Container 'main': invalid value 'd' of resource requirement InferenceAccelerator.",
        ),
        (
            json!({ ".environment": [{ "name": "A", "value": "" }],
                    ".secrets": [{ "name": "A", "valueFrom": "p" }] }),
            "The secret name must be unique and not shared with any new or existing environment \
             variables set on the container, such as 'A'.",
        ),
        (
            json!({ ".secrets": [{ "name": "", "valueFrom": "p" }] }),
            "Container 'main': each of 'secrets' needs a name without '=' and a valueFrom.",
        ),
        (
            json!({ ".environmentFiles": [{ "type": "s3", "value": "/a.env" }] }),
            "Invalid arn syntax.",
        ),
        (
            json!({ ".ulimits": [{ "name": "core", "softLimit": -2, "hardLimit": -1 }] }),
            "Container 'main': a limit of ulimit 'core' must be -1, which is unlimited, or more.",
        ),
    ] {
        refused(minimal, &changes, message);
    }
    for taken in [mesh("main", &all), containers(&[&logging, &router("a")])] {
        let request = with(minimal(), &taken);
        let shown = registered(&request).unwrap();
        let mut out = Vec::new();
        lost("", &request, &shown, &mut out);
        assert_eq!(out, [""; 0], "{taken}");
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
            json!({ ".resourceRequirements": [{ "type": "GPU", "sharingStrategy": {
                "nvidiaMps": { "memory": 1024, "maxComputePercent": 50 } } }] }),
            "/containerDefinitions/0/resourceRequirements/0",
            json!({ "type": "GPU", "sharingStrategy": {
                "nvidiaMps": { "memory": 1024, "maxComputePercent": 50 } } }),
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

#[test]
fn roles_are_shown_as_arns() {
    for (given, shown) in [
        ("app", "arn:aws:iam::000000000000:role/app"),
        ("a+=,.@-_b", "arn:aws:iam::000000000000:role/a+=,.@-_b"),
        (
            "arn:aws-cn:iam::111122223333:role/path/to/app",
            "arn:aws-cn:iam::111122223333:role/path/to/app",
        ),
        (
            "arn:aws-us-gov:iam::111122223333:role/app",
            "arn:aws-us-gov:iam::111122223333:role/app",
        ),
    ] {
        for member in ["taskRoleArn", "executionRoleArn"] {
            let found = registered(&with(minimal(), &json!({ member: given }))).unwrap();
            assert_eq!(found[member], shown, "{member}");
        }
    }
    for other in [
        "arn:aws:cloudformation:us-east-1:000000000000:stack/app/1",
        "arn:aws:iam::000000000000:user/app",
        "arn:aws:iam::000000000000:role/",
        "arn:aws:iam",
        "an app",
        "path/app",
    ] {
        for member in ["taskRoleArn", "executionRoleArn"] {
            refused(minimal, &json!({ member: other }), "Role is not valid");
        }
    }
}

#[test]
fn what_ecs_takes_is_taken() {
    let efs = |more: Value| {
        let mut volume = json!({ "fileSystemId": "fs-1" });
        for (name, value) in more.as_object().unwrap() {
            volume[name.as_str()] = value.clone();
        }
        json!({ "volumes": [{ "name": "v", "efsVolumeConfiguration": volume }] })
    };
    let secret = |arn: &str| json!({ "executionRoleArn": "app", ".secrets": [{ "name": "S", "valueFrom": arn }] });
    for taken in [
        json!({ ".memory": 256, ".memoryReservation": 256 }),
        efs(
            json!({ "transitEncryption": "DISABLED", "rootDirectory": "/",
                    "authorizationConfig": { "iam": "DISABLED" } }),
        ),
        efs(json!({ "rootDirectory": "/data", "authorizationConfig": { "accessPointId": "" } })),
        json!({ ".environmentFiles": [{ "type": "s3", "value": "arn:aws-cn:s3:::b/a.env" }] }),
        secret("arn:aws-us-gov:ssm:us-gov-west-1:000000000000:parameter/a"),
        secret("/a/b"),
    ] {
        assert_eq!(registered(&with(minimal(), &taken)).err(), None, "{taken}");
    }
    let gmsa = json!({ ".credentialSpecs": ["credentialspecdomainless:arn:aws:s3:::b/c"] });
    assert_eq!(registered(&with(fargate(), &gmsa)).err(), None);
    let asm = secret("arn:aws-cn:secretsmanager:cn-north-1:111122223333:secret:a");
    let shown = registered(&with(minimal(), &asm)).unwrap();
    let needs = shown["requiresAttributes"].to_string();
    assert!(needs.contains("secrets.asm."), "{needs}");
    let disabled = efs(json!({ "authorizationConfig": { "iam": "DISABLED" } }));
    let shown = registered(&with(minimal(), &disabled)).unwrap();
    let needs = shown["requiresAttributes"].to_string();
    assert!(!needs.contains("efsAuth"), "{needs}");
}

/// A client that compares sees one that was given empty and comes back absent, or the reverse, as a
/// change that it has to make.
#[test]
fn empty_lists_that_clients_tell_from_absent_ones_come_back() {
    for (pointer, given) in [
        ("/linuxParameters/capabilities", json!({ "drop": ["ALL"] })),
        (
            "/linuxParameters/capabilities",
            json!({ "add": [], "drop": ["ALL"] }),
        ),
        (
            "/linuxParameters/capabilities",
            json!({ "add": ["SYS_PTRACE"] }),
        ),
        (
            "/linuxParameters/capabilities",
            json!({ "add": [], "drop": [] }),
        ),
        ("/linuxParameters/capabilities", json!({})),
        ("/linuxParameters/devices", json!([])),
        ("/linuxParameters/tmpfs", json!([])),
        ("/logConfiguration/secretOptions", json!([])),
        ("/dockerLabels", json!({})),
        ("/ulimits", json!([])),
    ] {
        let value = given.clone();
        let member = match pointer.trim_start_matches('/').split_once('/') {
            None => json!({ format!(".{}", &pointer[1..]): value }),
            Some(("logConfiguration", name)) => {
                json!({ ".logConfiguration": { "logDriver": "json-file", name: value } })
            }
            Some((parent, name)) => json!({ format!(".{parent}"): { name: value } }),
        };
        let found = registered(&with(minimal(), &member)).unwrap();
        let found = &found["containerDefinitions"][0];
        assert_eq!(found.pointer(pointer), Some(&given), "{pointer}");
    }
    let absent = registered(&minimal()).unwrap();
    for member in ["linuxParameters", "dockerLabels", "ulimits"] {
        assert!(absent["containerDefinitions"][0].get(member).is_none());
    }
}

#[test]
fn what_is_given_empty_asks_nothing_of_a_machine() {
    let empty = json!({ ".dockerLabels": {}, ".ulimits": [] });
    let shown = registered(&with(minimal(), &empty)).unwrap();
    let needs = |shown: &Value| shown["requiresAttributes"].clone();
    assert_eq!(needs(&shown), needs(&registered(&minimal()).unwrap()));
    let devices = json!({ ".linuxParameters": { "devices": [] } });
    registered(&with(fargate(), &devices)).unwrap();
}

#[test]
fn a_parameter_without_an_account_is_of_this_one() {
    let role = "arn:aws:iam::000000000000:role/execution";
    let secret = |account: &str| {
        let arn = format!("arn:aws:ssm:us-east-1:{account}:parameter/password");
        json!({
            "executionRoleArn": role,
            ".secrets": [{ "name": "PASSWORD", "valueFrom": arn }],
        })
    };
    for account in ["", "000000000000"] {
        registered(&with(minimal(), &secret(account))).unwrap();
    }
    refused(
        minimal,
        &secret("111122223333"),
        "The Systems Manager parameter ARN has a different account ID than the current account.",
    );
}
