//! Ends that people ask about, and what they are told.

use super::*;

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
        render(&explain(&task, &entries)),
        [
            "Container web used more memory than its limit of 64 MiB, and the kernel killed it.",
            "To mend it: give web a higher `memory` in the task definition, or make the program use less",
            "",
            "containers:",
            "  web: STOPPED, exit code 137 (killed by SIGKILL), OutOfMemoryError: Container killed due to \
             memory usage",
            "",
            "stop:",
            "  to stop: Essential container in task exited (container web) at 1970-01-01T00:00:02.001Z",
            "  stopCode EssentialContainerExited",
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

#[test]
fn each_end_has_its_sentence() {
    let stopped = |code: &str, reason: &str, containers: Value, detail: Value| {
        let task = task(json!({
            "taskArn": "a/3f2a0000ffff", "lastStatus": "STOPPED", "stopCode": code,
            "stoppedReason": reason, "containers": containers,
        }));
        let wanted =
            json!([{ "atMs": 0, "event": "stopWanted", "reason": reason, "detail": detail }]);
        explain(&task, &entries(wanted))
    };
    let told = stopped(
        "UserInitiated",
        "new config",
        json!([]),
        json!({ "by": "admin" }),
    );
    assert_eq!(
        (told.summary.as_str(), told.mend),
        ("admin stopped it: new config.", None)
    );

    let containers = json!([{ "name": "side", "exitCode": 143 }, { "name": "job", "exitCode": 0 }]);
    let told = stopped(
        "EssentialContainerExited",
        "x",
        containers,
        json!({ "container": "job" }),
    );
    let success = "Its essential container job ended by itself with success, which ends the task.";
    assert_eq!((told.summary.as_str(), told.mend), (success, None));

    let containers = json!([{ "name": "job", "exitCode": 127 }]);
    let told = stopped("EssentialContainerExited", "x", containers, Value::Null);
    assert!(
        told.summary
            .contains("exit code 127 (the command was not found)"),
        "{}",
        told.summary
    );
    assert!(told.mend.unwrap().contains("`entryPoint` of job"));

    let error = "CannotPullContainerError: no such image";
    let told = stopped(
        "TaskFailedToStart",
        "Task failed to start",
        json!([]),
        json!({ "error": error }),
    );
    assert_eq!(told.summary, format!("It did not start: {error}."));
    assert!(told.mend.unwrap().contains("windlass images load"));

    let told = stopped(
        "InfrastructureHealth",
        "Host restarted",
        json!([]),
        Value::Null,
    );
    assert_eq!(told.summary, "It stopped: Host restarted");
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
            "It runs, but a health check says it is unhealthy.",
        ),
        (
            json!({ "lastStatus": "STOPPING", "desiredStatus": "STOPPED" }),
            "It is STOPPING, on its way to STOPPED.",
        ),
    ] {
        assert_eq!(explain(&task(value), &[]).summary, sentence);
    }
}
