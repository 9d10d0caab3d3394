//! Ends that people ask about, and what they are told.

use super::*;
use serde_json::Value;

fn task(value: Value) -> Task {
    serde_json::from_value(value).unwrap()
}

fn entries(value: Value) -> Vec<Entry> {
    serde_json::from_value(value).unwrap()
}

#[test]
fn an_out_of_memory_kill_is_told_with_its_evidence() {
    let task = task(json!({
        "taskArn": "arn:aws:ecs:us-east-1:0:task/default/3f2a0000ffff", "lastStatus": "STOPPED",
        "stopCode": "EssentialContainerExited", "stoppedReason": "Essential container in task exited",
        "containers": [{ "name": "web", "lastStatus": "STOPPED", "exitCode": 137,
                         "reason": "OutOfMemoryError: Container killed due to memory usage" }],
    }));
    let entries = entries(json!([
        { "atMs": 0, "event": "created", "by": "admin" },
        { "atMs": 250, "event": "taskStatus", "from": "PENDING", "to": "RUNNING" },
        { "atMs": 2000, "event": "containerStatus", "container": "web", "to": "STOPPED",
          "exitCode": 137, "peakBytes": 67108864, "limitBytes": 67108864 },
        { "atMs": 2000, "event": "lastLines", "container": "web", "lines": ["allocating\u{1b}[2J"] },
        { "atMs": 2001, "event": "stopWanted", "reason": "Essential container in task exited",
          "detail": { "container": "web" } },
        { "atMs": 2100, "event": "taskStatus", "from": "RUNNING", "to": "STOPPED" },
    ]));
    assert_eq!(
        render(&explain(&task, None, &entries)),
        [
            "Container web used more memory than its limit of 64 MiB, and the kernel killed it.",
            "To mend it: give web a higher `memory` in the task definition, or make the program use less",
            "",
            "containers:",
            "  web: STOPPED, exit code 137 (killed by SIGKILL), OutOfMemoryError",
            "",
            "stop:",
            "  stopCode EssentialContainerExited, container web, at 1970-01-01T00:00:02.001Z",
            "  out of memory: peak 64 MiB of 64 MiB",
            "",
            "last lines of web:",
            "  allocating\\x1b[2J",
            "",
            "time in each phase:",
            "  PENDING 250ms",
            "  RUNNING 1.8s",
        ]
    );
}

/// A task with containers `app` and `db`, of which `entries` tell.
fn stopped(code: &str, detail: Value, told: Value) -> Explanation {
    let task = task(json!({
        "taskArn": "a/3f2a0000ffff", "lastStatus": "STOPPED", "stopCode": code, "memory": "64",
        "stoppedReason": "new config.",
        "containers": [
            { "name": "app", "lastStatus": "STOPPED", "image": "shop:1", "memory": "32" },
            { "name": "db", "lastStatus": "STOPPED", "image": "db:1" },
        ],
    }));
    let definition: TaskDefinition = serde_json::from_value(json!({
        "containerDefinitions": [{
            "name": "app",
            "mountPoints": [{ "sourceVolume": "v", "containerPath": "/data" }],
        }],
        "volumes": [{ "name": "v", "host": { "sourcePath": "/srv" } }],
    }))
    .unwrap();
    let mut all = vec![json!({ "atMs": 0, "event": "stopWanted", "detail": detail })];
    all.extend(told.as_array().unwrap().iter().cloned());
    let entries = entries(Value::Array(all));
    explain(&task, Some(&definition), &entries)
}

/// The entry of a container's end.
fn end(container: &str, mut members: Value) -> Value {
    members["event"] = "containerStatus".into();
    members["atMs"] = 1.into();
    members["container"] = container.into();
    members["to"] = "STOPPED".into();
    members
}

#[test]
fn each_end_has_its_sentence() {
    let lines = json!({ "event": "lastLines", "atMs": 1, "container": "app",
                        "lines": ["one", "no DB_URL", " "] });
    for (told, sentence, mend) in [
        (
            json!([end("app", json!({ "exitCode": 3 })), lines]),
            "Container app ended with exit code 3; its last line: no DB_URL.",
            "windlass logs 3f2a0000 app",
        ),
        (
            json!([end("app", json!({ "exitCode": 0 }))]),
            "Container app ended by itself with exit code 0, which is success.",
            "`essential`",
        ),
        (
            json!([end("app", json!({ "exitCode": 127 }))]),
            "Container app ended with exit code 127 (the command was not found).",
            "`entryPoint` of app",
        ),
        (
            json!([end("app", json!({ "exitCode": 137 }))]),
            "Container app ended with exit code 137 (killed by SIGKILL), neither for memory nor by \
             a stop of the task.",
            "windlass logs",
        ),
        (
            json!([end(
                "app",
                json!({ "exitCode": 137, "limitBytes": 33554432 })
            )]),
            "Container app used more memory than its limit of 32 MiB, and the kernel killed it.",
            "higher `memory`",
        ),
        (
            json!([end(
                "app",
                json!({ "exitCode": 137, "limitBytes": 67108864 })
            )]),
            "Container app was killed by the kernel, as the task used more memory than its limit of \
             64 MiB.",
            "give the task",
        ),
        (
            json!([end("app", json!({ "exitCode": 5, "limitBytes": 33554432 }))]),
            "Container app ended with exit code 5, after the kernel had killed a process of it for \
             memory (the limit is 32 MiB).",
            "higher `memory`",
        ),
    ] {
        let told = stopped(
            "EssentialContainerExited",
            json!({ "container": "app" }),
            told,
        );
        assert_eq!(told.summary, sentence);
        assert!(told.mend.as_ref().unwrap().contains(mend), "{told:?}");
    }
}

#[test]
fn what_was_not_started_is_told_by_its_fault() {
    let program = json!({ "path": "/run", "error": "exec format error", "cause": "architecture",
                          "why": "it is built for aarch64, and this machine is x86_64" });
    let waits = |problem: &str| json!({ "kind": "dependency", "container": "db", "condition": "SUCCESS", "problem": problem });
    for (members, db, sentence) in [
        (
            json!({ "program": program }),
            Value::Null,
            "could not run its program /run: it is built for aarch64, and this machine is x86_64",
        ),
        (
            json!({ "fault": { "kind": "mount", "path": "/data", "error": "not a directory" } }),
            Value::Null,
            "was not started: volume v (/srv) could not be mounted at /data: not a directory",
        ),
        (
            json!({ "fault": { "kind": "image", "problem": "platform", "wanted": "linux/amd64",
                               "found": "linux/arm64" } }),
            Value::Null,
            "was not started: its image shop:1 is for linux/arm64, and not for this machine's \
             platform linux/amd64",
        ),
        (
            json!({ "fault": waits("ended") }),
            json!({ "exitCode": 4 }),
            "was not started: container db, which had to end with success first, ended with \
             exit code 4",
        ),
        (
            json!({ "fault": waits("ended") }),
            json!({ "fault": { "kind": "programMissing", "path": "pg" } }),
            "was not started: container db, which had to end with success first, was not \
             started: its program \"pg\" is in no folder of PATH in the image db:1",
        ),
        (
            json!({ "fault": waits("timedOut") }),
            Value::Null,
            "was not started: container db, which had to end with success first, was not so \
             within its startTimeout",
        ),
        // Of a newer server.
        (
            json!({ "fault": { "kind": "new" } }),
            Value::Null,
            "failed: CannotStartContainerError: it",
        ),
    ] {
        let mut members = members;
        members["reason"] = "CannotStartContainerError: it".into();
        let mut told = vec![end("app", members)];
        if !db.is_null() {
            told.push(end("db", db));
        }
        let told = stopped("TaskFailedToStart", Value::Null, Value::Array(told));
        assert_eq!(told.summary, format!("Container app {sentence}."));
    }
}

/// A circle cannot be registered; a history that tells of one ends all the same.
#[test]
fn containers_that_wait_for_each_other_are_followed_to_an_end() {
    let waits = |on: &str| {
        json!({ "reason": "x", "fault": { "kind": "dependency", "container": on,
                "condition": "START", "problem": "ended" } })
    };
    let told = json!([end("app", waits("db")), end("db", waits("app"))]);
    let told = stopped("TaskFailedToStart", Value::Null, told);
    assert!(
        told.summary
            .ends_with("which had to start first, never will."),
        "{}",
        told.summary
    );
}

#[test]
fn stops_are_told_with_who_and_what_came_of_them() {
    let by = json!({ "by": "arn:aws:iam::0:user/admin" });
    let told = stopped("UserInitiated", by.clone(), json!([]));
    assert_eq!(
        (told.summary.as_str(), told.mend),
        ("admin stopped it: new config.", None)
    );
    let late = json!([end("app", json!({ "exitCode": 137, "killedAfterS": 30 }))]);
    let told = stopped("UserInitiated", by, late);
    assert_eq!(
        told.summary,
        "Container app did not end within its stopTimeout of 30 s, so that the stop by admin (new \
         config) became a kill with SIGKILL."
    );
    let told = stopped("InfrastructureHealth", Value::Null, json!([]));
    assert_eq!(told.summary, "It stopped: new config.");
}

#[test]
fn placements_are_told_in_the_words_of_runs() {
    let told = placement::explain(
        "web:1",
        &entries(json!([
            { "atMs": 0, "event": "notPlaced", "taskDefinition": "web:1", "refused": [] },
            { "atMs": 1, "event": "notPlaced", "taskDefinition": "web:1", "refused": [
                { "containerInstance": "3f2a0000ffff", "reason": "RESOURCE:MEMORY",
                  "detail": "needs 9 MiB of memory, 3 MiB are free", "what": "memory" },
                { "containerInstance": "4f2a0000ffff", "reason": "AGENT", "what": "disconnected" },
            ] },
        ])),
    );
    assert_eq!(
        told.summary,
        "The last RunTask of web:1 found no place: RESOURCE:MEMORY (needs 9 MiB of memory, 3 MiB are \
         free), AGENT."
    );
    assert!(told.mend.unwrap().contains("windlass nodes"));
    assert_eq!(told.evidence[0].lines[1], "4f2a0000: AGENT");
    let told = placement::explain("web:1", &[]);
    assert!(told.summary.contains("as far as history goes"));
}

#[test]
fn tasks_that_live_are_told_too() {
    for (value, sentence) in [
        (
            json!({ "lastStatus": "RUNNING", "desiredStatus": "RUNNING" }),
            "It runs.",
        ),
        (
            json!({ "lastStatus": "PENDING" }),
            "It is on its way: PENDING. The phases below tell for how long.",
        ),
        (
            json!({ "lastStatus": "RUNNING", "healthStatus": "UNHEALTHY" }),
            "It runs and is unhealthy by its health check.",
        ),
        (
            json!({ "lastStatus": "STOPPING", "desiredStatus": "STOPPED" }),
            "It is STOPPING, on its way to STOPPED.",
        ),
    ] {
        assert_eq!(explain(&task(value), None, &[]).summary, sentence);
    }
}
