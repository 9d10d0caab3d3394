//! The views as people see them.

use super::*;
use crate::commands::nodes::tests::node;

#[test]
fn a_task_is_shown_with_the_isolation_it_really_has() {
    let task = json!({
        "taskArn": "arn:aws:ecs:us-east-1:0:task/default/3f2a0000", "lastStatus": "STOPPED",
        "clusterArn": "arn:aws:ecs:us-east-1:0:cluster/default", "launchType": "EC2",
        "createdAt": 1.5, "stoppedReason": "\u{1b}[2Jevil",
        "containers": [{ "name": "web", "lastStatus": "STOPPED", "exitCode": 137, "image": "web:1" }],
    });
    let task: Task = serde_json::from_value(task).unwrap();
    let definition = json!({ "containerDefinitions": [
        { "name": "web", "image": "web:1", "memory": 64, "privileged": true }] });
    let definition: TaskDefinition = serde_json::from_value(definition).unwrap();
    assert_eq!(
        show_task(&task, Some(&node()), Some(&definition), "127.0.0.1"),
        [
            "task             3f2a0000",
            "cluster          default",
            "status           STOPPED",
            "launch type      EC2",
            "node             mill (10.0.0.5)",
            "isolation        namespaces, cgroups",
            "created          1970-01-01T00:00:01.5Z",
            "stopped because  \\x1b[2Jevil",
            "arn              arn:aws:ecs:us-east-1:0:task/default/3f2a0000",
            "",
            "container  web",
            "  status     STOPPED",
            "  exit code  137 (killed by SIGKILL)",
            "  image      web:1",
            "  namespaces    mounts own, host name own, processes own, IPC own, network own, user \
             ids the machine's",
            "  seccomp       none (privileged)",
            "  capabilities  all (privileged)",
            "  devices       all of the machine (privileged)",
            "  limits        memory 64 MiB",
        ]
    );
}

#[test]
fn a_definition_shows_names_of_variables_and_no_values() {
    let definition = json!({
        "taskDefinitionArn": "arn:aws:ecs:us-east-1:0:task-definition/web:3", "status": "ACTIVE",
        "compatibilities": ["EXTERNAL", "EC2"], "networkMode": "bridge",
        "containerDefinitions": [{
            "name": "web", "image": "web:1", "memory": 64, "cpu": 0, "command": ["a", "b"],
            "environment": [{ "name": "TOKEN", "value": "secret" }],
            "portMappings": [{ "containerPort": 80, "hostPort": 8080 }, { "containerPort": 81, "hostPort": 0 }],
            "dependsOn": [{ "containerName": "db", "condition": "HEALTHY" }],
        }],
    });
    let definition: TaskDefinition = serde_json::from_value(definition).unwrap();
    assert_eq!(
        show_definition(&definition),
        [
            "definition  web:3",
            "status      ACTIVE",
            "runs on     EXTERNAL, EC2",
            "network     bridge",
            "arn         arn:aws:ecs:us-east-1:0:task-definition/web:3",
            "",
            "container  web",
            "  image      web:1",
            "  essential  yes",
            "  memory     64 MiB",
            "  command    a b",
            "  ports      8080->80, 81",
            "  variables  TOKEN",
            "  after      db HEALTHY",
        ]
    );
}

#[test]
fn an_instance_shows_what_is_left() {
    let amounts = |cpu: i64, memory: i64| {
        json!([{ "name": "CPU", "type": "INTEGER", "integerValue": cpu },
               { "name": "MEMORY", "type": "INTEGER", "integerValue": memory }])
    };
    let instance = json!({
        "containerInstanceArn": "arn/default/c0ffee", "status": "ACTIVE", "agentConnected": false,
        "remainingResources": amounts(512, 1000), "registeredResources": amounts(2048, 3900),
        "runningTasksCount": 2,
    });
    let instance: ContainerInstance = serde_json::from_value(instance).unwrap();
    assert_eq!(
        show_instance(&instance, None),
        [
            "instance       c0ffee",
            "status         ACTIVE",
            "connected      no",
            "cpu left       512 of 2048",
            "memory left    1000 of 3900 MiB",
            "running tasks  2",
            "arn            arn/default/c0ffee",
        ]
    );
}
