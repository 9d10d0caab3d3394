//! Every operation once, over a real socket with real signatures, against a leader with a store in
//! memory and a machine that the test plays; and how serving begins to refuse and ends.

#[path = "operations/keys.rs"]
mod keys;
#[path = "operations/refusals.rs"]
mod refusals;
#[path = "fixture/served.rs"]
mod served;
#[path = "operations/strangers.rs"]
mod strangers;
#[path = "operations/unsigned.rs"]
mod unsigned;

use serde_json::{Value, json};
use served::{Answer, Served};
use std::io::Read;
use std::net::TcpStream;

fn definition(family: &str) -> Value {
    json!({
        "family": family,
        "containerDefinitions": [{ "name": "main", "image": "busybox", "memory": 16 }],
    })
}

#[test]
fn clusters_and_tags() {
    let served = Served::new();
    let made = served.ok("CreateCluster", json!({ "clusterName": "web" }));
    assert_eq!(made["cluster"]["status"], "ACTIVE");
    let arn = made["cluster"]["clusterArn"].clone();
    assert_eq!(arn, "arn:aws:ecs:us-east-1:000000000000:cluster/web");
    let listed = served.ok("ListClusters", json!({}));
    assert_eq!(listed["clusterArns"], json!([arn]));
    let tags = json!([{ "key": "team", "value": "a" }]);
    served.ok("TagResource", json!({ "resourceArn": arn, "tags": tags }));
    let of = json!({ "resourceArn": arn });
    assert_eq!(served.ok("ListTagsForResource", of.clone())["tags"], tags);
    served.ok(
        "UntagResource",
        json!({ "resourceArn": arn, "tagKeys": ["team"] }),
    );
    assert_eq!(served.ok("ListTagsForResource", of)["tags"], json!([]));
    let described = served.ok("DescribeClusters", json!({ "clusters": ["web", "none"] }));
    assert_eq!(described["clusters"][0]["clusterName"], "web");
    assert_eq!(described["failures"][0]["reason"], "MISSING");
    let deleted = served.ok("DeleteCluster", json!({ "cluster": "web" }));
    assert_eq!(deleted["cluster"]["status"], "INACTIVE");
    let refused = served.call("DeleteCluster", json!({ "cluster": "web" }));
    assert_eq!(refused.refusal(), (400, "ClusterNotFoundException"));
}

#[test]
fn task_definitions() {
    let served = Served::new();
    let made = served.ok("RegisterTaskDefinition", definition("app"));
    assert_eq!(made["taskDefinition"]["revision"], 1);
    served.ok("RegisterTaskDefinition", definition("app"));
    let arn = |n: u32| format!("arn:aws:ecs:us-east-1:000000000000:task-definition/app:{n}");
    let latest = served.ok("DescribeTaskDefinition", json!({ "taskDefinition": "app" }));
    assert_eq!(latest["taskDefinition"]["taskDefinitionArn"], arn(2));
    let page = served.ok("ListTaskDefinitions", json!({ "maxResults": 1 }));
    assert_eq!(page["taskDefinitionArns"], json!([arn(1)]));
    let rest = json!({ "maxResults": 1, "nextToken": page["nextToken"] });
    let page = served.ok("ListTaskDefinitions", rest);
    assert_eq!(page["taskDefinitionArns"], json!([arn(2)]));
    assert!(page.get("nextToken").is_none_or(Value::is_null), "{page}");
    let families = served.ok("ListTaskDefinitionFamilies", json!({}));
    assert_eq!(families["families"], json!(["app"]));
    let gone = served.ok(
        "DeregisterTaskDefinition",
        json!({ "taskDefinition": "app:1" }),
    );
    assert_eq!(gone["taskDefinition"]["status"], "INACTIVE");
    let deleted = json!({ "taskDefinitions": ["app:1", "app:2"] });
    let deleted = served.ok("DeleteTaskDefinitions", deleted);
    assert_eq!(deleted["taskDefinitions"][0]["taskDefinitionArn"], arn(1));
    assert_eq!(deleted["failures"][0]["arn"], "app:2");
}

#[test]
fn tasks_and_instances() {
    let served = Served::with_node();
    served.ok("RegisterTaskDefinition", definition("app"));
    let run = served.ok("RunTask", json!({ "taskDefinition": "app", "count": 2 }));
    assert_eq!(run["failures"], json!([]));
    let arn = run["tasks"][0]["taskArn"].clone();
    assert_eq!(run["tasks"][0]["desiredStatus"], "RUNNING");
    let listed = served.ok("ListTasks", json!({ "family": "app" }));
    assert_eq!(listed["taskArns"].as_array().unwrap().len(), 2);
    let instances = served.ok("ListContainerInstances", json!({}));
    let instance = instances["containerInstanceArns"][0].clone();
    let described = json!({ "containerInstances": [instance] });
    let described = served.ok("DescribeContainerInstances", described);
    assert_eq!(described["containerInstances"][0]["agentConnected"], true);
    assert_eq!(described["containerInstances"][0]["pendingTasksCount"], 2);
    assert_eq!(
        described["containerInstances"][0]["healthStatus"],
        Value::Null
    );
    let asked = json!({ "containerInstances": [instance],
                        "include": ["CONTAINER_INSTANCE_HEALTH"] });
    let healthy = served.ok("DescribeContainerInstances", asked.clone());
    let health = &healthy["containerInstances"][0]["healthStatus"];
    let shown = |health: &Value| {
        let of = |n: usize| {
            let detail = &health["details"][n];
            assert!(detail["lastStatusChange"].is_number(), "{health}");
            (detail["type"].clone(), detail["status"].clone())
        };
        json!([health["overallStatus"], of(0), of(1)])
    };
    let expected = |overall: &str, runtime: &str| {
        json!([
            overall,
            ["AGENT_CONNECTIVITY", overall],
            ["CONTAINER_RUNTIME", runtime]
        ])
    };
    assert_eq!(shown(health), expected("OK", "OK"));
    for (filters, count) in [
        (json!({ "launchType": "EC2" }), 2),
        (json!({ "launchType": "FARGATE" }), 0),
        (json!({ "launchType": "MANAGED_INSTANCES" }), 0),
        (json!({ "family": "app", "containerInstance": instance }), 2),
        (json!({ "desiredStatus": "PENDING" }), 0),
    ] {
        let listed = served.ok("ListTasks", filters.clone());
        assert_eq!(
            listed["taskArns"].as_array().unwrap().len(),
            count,
            "{filters}"
        );
    }
    let started = json!({ "taskDefinition": "app", "containerInstances": [instance] });
    let started = served.ok("StartTask", started);
    assert_eq!(started["tasks"].as_array().unwrap().len(), 1);
    let stopped = served.ok("StopTask", json!({ "task": arn, "reason": "enough" }));
    assert_eq!(stopped["task"]["desiredStatus"], "STOPPED");
    let described = served.ok("DescribeTasks", json!({ "tasks": [arn] }));
    assert_eq!(described["tasks"][0]["stoppedReason"], "enough");
    served.disconnect();
    let ill = served.ok("DescribeContainerInstances", asked);
    let health = &ill["containerInstances"][0]["healthStatus"];
    assert_eq!(shown(health), expected("IMPAIRED", "INSUFFICIENT_DATA"));
}

#[test]
fn what_ecs_has_no_operation_for() {
    let served = Served::with_node();
    let status = served.own("GetStatus", json!({}));
    assert_eq!(status["caller"], "arn:aws:iam::000000000000:user/admin");
    served.ok("CreateCluster", json!({ "clusterName": "web" }));
    let added = served.own("AddNode", json!({ "cluster": "web" }));
    assert_eq!(
        added["node"]["containerInstances"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(served.own("ListNodes", json!({}))["nodes"][0]["tasks"], 0);
    served.ok("RegisterTaskDefinition", definition("app"));
    let run = served.ok("RunTask", json!({ "taskDefinition": "app" }));
    let arn = run["tasks"][0]["taskArn"].as_str().unwrap();
    let id = arn.rsplit('/').next().unwrap();
    let found = served.own("FindTask", json!({ "task": id[..8] }));
    assert_eq!(found["task"]["taskArn"], arn);
    let subject = format!("task/{id}");
    let history = served.own("DescribeHistory", json!({ "subject": subject }));
    assert_ne!(history["entries"], json!([]));
    let unknown = json!({ "subject": "task/00000000000000000000000000000000" });
    let refused = served.call_own("DescribeHistory", unknown);
    assert_eq!(refused.refusal().0, 400);
    assert_eq!(served.own("ListImages", json!({}))["images"], json!([]));
    let image = json!({ "image": "busybox" });
    assert_eq!(
        served.own("PullImage", image.clone())["images"][0]["name"],
        "busybox"
    );
    let missing = served.call_own("RemoveImage", image);
    assert_eq!(missing.refusal(), (400, "ResourceNotFoundException"));
    let login = json!({ "registry": "r.example", "username": "me", "password": "s3cret" });
    let denied = served.call_own("LoginRegistry", login);
    assert_eq!(denied.refusal(), (400, "ClientException"));
    let logout = json!({ "registry": "r.example" });
    assert_eq!(served.own("LogoutRegistry", logout), json!({}));
    let import = json!({ "name": "mine", "directory": "/srv/mine" });
    assert_eq!(
        served.own("ImportRootfs", import)["images"][0]["name"],
        "mine"
    );
    assert_eq!(served.own("StopEverything", json!({})), json!({}));
    let listed = served.ok("ListTasks", json!({ "desiredStatus": "STOPPED" }));
    assert_eq!(listed["taskArns"], json!([arn]));
}

#[test]
fn logs_come_as_one_record_a_line() {
    let served = Served::new();
    let id = "0".repeat(32);
    let answer = served.call_own("GetLogs", json!({ "task": id }));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = answer
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["text"], "two");
}

#[test]
fn an_upload_is_loaded_once_and_leaves_nothing() {
    let served = Served::new();
    let loaded = served.send("Windlass.LoadImage", "ecs", b"an archive");
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(served.machine.loaded(), [b"an archive".to_vec()]);
    let mut cut = served.signed("Windlass.LoadImage", "ecs", b"an archive");
    *cut.last_mut().unwrap() = b'X';
    let refused = Answer::read(&mut served.write(&cut));
    assert_eq!(refused.refusal(), (400, "InvalidSignatureException"));
    assert_eq!(served.machine.loaded().len(), 1);
    assert_eq!(served.machine.uploads(), 0, "an upload was left behind");
}

#[test]
fn a_backup_is_whole_or_visibly_cut() {
    let served = Served::new();
    served.ok("CreateCluster", json!({ "clusterName": "web" }));
    let whole = served.call_own("Backup", json!({}));
    assert_eq!((whole.status, whole.whole), (200, true));
    let dir = tempfile::tempdir().unwrap();
    let mut source = &whole.body[..];
    let mut label = Vec::new();
    let summary = windlass_store::backup::restore(
        &mut source,
        &dir.path().join("s"),
        Default::default(),
        &mut |_, value| Ok(value),
        &mut |of_backup| {
            label = of_backup.to_vec();
            Ok(())
        },
    )
    .unwrap();
    assert_eq!((summary.rows, label), (1, b"label".to_vec()));

    served.store.break_snapshots();
    let request = served.signed("Windlass.Backup", "ecs", b"{}");
    let mut cut = Vec::new();
    // A reset is a cut too, and even the head may fall to it.
    let _ = served.write(&request).read_to_end(&mut cut);
    assert!(!cut.ends_with(b"0\r\n\r\n"), "a cut that no client sees");
}

#[test]
fn errors_carry_their_code_and_a_request_id() {
    let served = Served::new();
    let target = |name: &str| format!("AmazonEC2ContainerServiceV20141113.{name}");
    let huge = vec![b' '; windlass_api::limits::BODY_BYTES_MAX + 1];
    for (name, target, service, body, expected) in [
        ("unbuilt", target("CreateService"), "ecs", &b"{}"[..], None),
        (
            "unknown",
            target("Nothing"),
            "ecs",
            b"{}",
            Some("UnknownOperationException"),
        ),
        (
            "own unknown",
            "Windlass.Nothing".into(),
            "ecs",
            b"{}",
            Some("UnknownOperationException"),
        ),
        (
            "malformed",
            target("ListClusters"),
            "ecs",
            b"{",
            Some("SerializationException"),
        ),
        (
            "other service",
            target("ListClusters"),
            "s3",
            b"{}",
            Some("UnknownOperationException"),
        ),
        ("too large", target("ListClusters"), "ecs", &huge, None),
    ] {
        let answer = served.send(&target, service, body);
        let (status, code) = answer.refusal();
        assert!((400..500).contains(&status), "{name}: {}", answer.text());
        assert!(
            expected.is_none_or(|expected| expected == code),
            "{name}: {code}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/x-amz-json-1.1"),
            "{name}"
        );
        assert_eq!(
            answer.header("x-amzn-requestid").map(str::len),
            Some(36),
            "{name}"
        );
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["__type"], code, "{name}");
    }
    let unsigned = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = Answer::read(&mut served.write(unsigned));
    assert_eq!(answer.refusal().1, "MissingAuthenticationTokenException");
}

#[test]
fn sts_says_who_calls() {
    let served = Served::new();
    let answer = served.send("", "sts", b"Action=GetCallerIdentity&Version=2011-06-15");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/xml"))
    );
    let text = answer.text();
    assert!(text.contains("<Account>000000000000</Account>"), "{text}");
    assert!(
        text.contains("<Arn>arn:aws:iam::000000000000:user/admin</Arn>"),
        "{text}"
    );
    let refused = served.send("", "sts", b"Action=AssumeRole<");
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("<Code>InvalidAction</Code>"));
    assert!(
        !refused.text().contains("AssumeRole<"),
        "a caller's text is escaped"
    );
}

#[test]
fn a_stop_lets_a_running_request_end() {
    let mut served = Served::new();
    let gate = served.store.close_gate();
    let target = "AmazonEC2ContainerServiceV20141113.CreateCluster";
    let request = served.signed(target, "ecs", br#"{"clusterName":"web"}"#);
    let mut running = served.write(&request);
    gate.wait_for_commit();
    served.stop();
    gate.open();
    let answer = Answer::read(&mut running);
    assert_eq!(answer.status, 200, "{}", answer.text());
    served.ended();
}

#[test]
fn a_full_house_of_strangers_keeps_nobody_out_and_stops() {
    let mut served = Served::new();
    // Each sends the beginning of a request, and no end.
    let held: Vec<TcpStream> = (0..windlass_api::limits::CONNECTIONS_MAX)
        .map(|_| served.write(b"POST / HTTP/1.1\r\n"))
        .collect();
    let mut late = served.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(Answer::read(&mut late).status, 400);
    served.stop();
    served.ended();
    drop(held);
}
