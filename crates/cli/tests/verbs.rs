//! Verbs against a server of a few lines that answers what it is told to.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use windlass_cli::{Environment, parse, run};

/// What a call asked: the operation, and the body.
type Calls = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Status and body by operation.
type Answers = fn(&str, &[u8]) -> (u16, String);

struct Server {
    url: String,
    calls: Calls,
}

impl Server {
    async fn start(answers: Answers) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Calls::default();
        let seen = calls.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let seen = seen.clone();
                let service = service_fn(move |request| answer(request, seen.clone(), answers));
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
            }
        });
        Server { url, calls }
    }

    fn environment(&self) -> Environment {
        let vars = [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Environment {
            vars: vars.into(),
            ..Environment::default()
        }
    }

    async fn run(&self, line: &str) -> u8 {
        self.run_words(line.split_whitespace()).await
    }

    async fn run_words<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> u8 {
        let words = std::iter::once("windlass").chain(words);
        let args = parse(words.map(Into::into)).unwrap();
        run(args, &self.environment()).await
    }

    fn asked(&self, operation: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        let bodies = calls.iter().filter(|(name, _)| name == operation);
        bodies
            .map(|(_, body)| serde_json::from_slice(body).unwrap())
            .collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    calls: Calls,
    answers: Answers,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    assert!(header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIA/"));
    let target = header("x-amz-target");
    let operation = target.rsplit('.').next().unwrap().to_owned();
    let digest = header("x-amz-content-sha256");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    use sha2::Digest;
    assert_eq!(digest, hex::encode(sha2::Sha256::digest(&body)));
    calls
        .lock()
        .unwrap()
        .push((operation.clone(), body.to_vec()));
    let (status, body) = answers(&operation, &body);
    let answer = Response::builder()
        .status(status)
        .body(Full::new(body.into()));
    Ok(answer.unwrap())
}

const ARN: &str =
    "arn:aws:ecs:us-east-1:000000000000:task/default/3f2a00000000000000000000000000aa";

fn task(status: &str, exit_code: Option<i32>) -> Value {
    json!({
        "taskArn": ARN, "clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/default",
        "lastStatus": status, "stoppedReason": "Essential container in task exited",
        "containers": [{ "name": "app", "lastStatus": status, "exitCode": exit_code }],
    })
}

fn refusal(code: &str, message: &str) -> (u16, String) {
    (
        400,
        json!({ "__type": code, "message": message }).to_string(),
    )
}

/// A server on which every task has just ended with 7.
fn ended(operation: &str, _: &[u8]) -> (u16, String) {
    let definition = json!({
        "taskDefinitionArn": "arn:aws:ecs:us-east-1:000000000000:task-definition/job:1",
        "containerDefinitions": [{ "name": "app" }],
    });
    let answer = match operation {
        "RegisterTaskDefinition" | "DescribeTaskDefinition" => {
            json!({ "taskDefinition": definition })
        }
        "RunTask" => json!({ "tasks": [task("PENDING", None)], "failures": [] }),
        "FindTask" => json!({ "task": task("STOPPED", Some(7)) }),
        "StopTask" => json!({ "task": task("STOPPED", Some(7)) }),
        "DescribeHistory" => json!({ "subject": "", "entries": [] }),
        "GetLogs" => {
            let line = json!({ "container": "app", "stream": "stdout", "text": "hello",
                               "timestamp": "2026-01-01T00:00:00Z", "partial": false });
            return (200, format!("{line}\n{line}\n"));
        }
        "LoadImage" => json!({ "images": [{ "name": "web:1", "digest": "sha256:00" }] }),
        "ListImages" => json!({ "images": [] }),
        "ListClusters" => json!({ "clusterArns": [] }),
        _ => return refusal("UnknownOperationException", operation),
    };
    (200, answer.to_string())
}

#[tokio::test]
async fn run_registers_follows_and_passes_the_code_on() {
    let server = Server::start(ended).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("job.json");
    let text =
        json!({ "family": "job", "revision": 3, "containerDefinitions": [{ "name": "app" }] });
    std::fs::write(&file, text.to_string()).unwrap();
    let words = [
        "run",
        file.to_str().unwrap(),
        "--env",
        "A=1",
        "--cluster",
        "c",
    ];
    assert_eq!(server.run_words(words).await, 7);
    let registered = json!({ "family": "job", "containerDefinitions": [{ "name": "app" }] });
    assert_eq!(server.asked("RegisterTaskDefinition"), [registered]);
    let asked = server.asked("RunTask");
    assert_eq!(asked[0]["cluster"], "c");
    assert_eq!(asked[0]["count"], 1);
    let logs = server.asked("GetLogs");
    assert_eq!(logs[0]["task"], "3f2a00000000000000000000000000aa");
    assert_eq!(logs[0]["follow"], true);
}

#[tokio::test]
async fn many_tasks_are_started_ten_at_a_time() {
    let server = Server::start(ended).await;
    assert_eq!(server.run("run job --detach --count 23").await, 0);
    let counts = server.asked("RunTask");
    let counts: Vec<&Value> = counts.iter().map(|request| &request["count"]).collect();
    assert_eq!(counts, [10, 10, 3]);
}

#[tokio::test]
async fn stop_finds_the_cluster_and_passes_the_reason() {
    let server = Server::start(ended).await;
    assert_eq!(server.run("stop 3f2a --reason enough").await, 0);
    let expected = json!({
        "cluster": "arn:aws:ecs:us-east-1:000000000000:cluster/default", "task": ARN, "reason": "enough",
    });
    assert_eq!(server.asked("StopTask"), [expected]);
}

#[tokio::test]
async fn an_archive_is_sent_whole_under_its_digest() {
    let server = Server::start(ended).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("web.tar");
    let bytes: Vec<u8> = (0..700_001_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    std::fs::write(&file, &bytes).unwrap();
    let words = ["images", "load", file.to_str().unwrap()];
    assert_eq!(server.run_words(words).await, 0);
    let calls = server.calls.lock().unwrap();
    assert!(
        calls
            .iter()
            .any(|(name, body)| name == "LoadImage" && *body == bytes)
    );
}

#[tokio::test]
async fn a_stopped_task_ends_every_wait() {
    let server = Server::start(ended).await;
    assert_eq!(server.run("wait 3f2a stopped").await, 0);
    assert_eq!(server.run("wait 3f2a running").await, 1);
    assert_eq!(server.run("logs 3f2a app").await, 0);
    assert_eq!(server.run("logs 3f2a none").await, 3);
    assert_eq!(server.run("images").await, 0);
}

#[tokio::test]
async fn refusals_have_their_exit_codes() {
    fn refuses(operation: &str, body: &[u8]) -> (u16, String) {
        let body = String::from_utf8_lossy(body);
        match operation {
            "FindTask" if body.contains("3f2a") => refusal(
                "InvalidParameterException",
                "No task's id begins with \"3f2a\".",
            ),
            "FindTask" => refusal("UnrecognizedClientException", "unknown key"),
            "DescribeTaskDefinition" => {
                refusal("ClientException", "Unable to describe task definition.")
            }
            "ListImages" => (502, "<html>".to_owned()),
            "ListNodes" => (200, "no json".to_owned()),
            _ => refusal("ClusterNotFoundException", "Cluster not found."),
        }
    }
    let server = Server::start(refuses).await;
    for (line, code) in [
        ("stop 3f2a", 3),
        ("stop 77", 4),
        ("ps --cluster none", 3),
        ("run none --detach", 3),
        ("run none", 3),
        ("images", 1),
        ("nodes", 1),
        ("describe cluster/none", 3),
    ] {
        assert_eq!(server.run(line).await, code, "{line}");
    }
}

#[tokio::test]
async fn tasks_without_a_place_exit_with_two() {
    fn full(operation: &str, body: &[u8]) -> (u16, String) {
        let failures = json!([{ "arn": "arn", "reason": "RESOURCE:MEMORY" }]);
        match operation {
            "RunTask" => (
                200,
                json!({ "tasks": [], "failures": failures }).to_string(),
            ),
            _ => ended(operation, body),
        }
    }
    let server = Server::start(full).await;
    assert_eq!(server.run("run job --detach").await, 2);
    assert_eq!(server.run("run job").await, 2);
}

#[tokio::test]
async fn logs_outlive_their_task() {
    fn forgotten(operation: &str, body: &[u8]) -> (u16, String) {
        match operation {
            "FindTask" => refusal(
                "InvalidParameterException",
                "No task's id begins with \"3f2a\".",
            ),
            _ => ended(operation, body),
        }
    }
    let server = Server::start(forgotten).await;
    let id = ARN.rsplit('/').next().unwrap();
    for whole in [ARN, id] {
        assert_eq!(server.run(&format!("logs -f {whole}")).await, 0);
    }
    let asked = json!({ "task": id, "containers": [], "follow": false });
    assert_eq!(server.asked("GetLogs"), [asked.clone(), asked]);
    assert_eq!(server.run("logs 3f2a").await, 3);
}

#[tokio::test]
async fn a_task_that_never_starts_has_no_code() {
    fn failed(operation: &str, body: &[u8]) -> (u16, String) {
        match operation {
            "FindTask" => (200, json!({ "task": task("STOPPED", None) }).to_string()),
            "GetLogs" => (200, String::new()),
            _ => ended(operation, body),
        }
    }
    let server = Server::start(failed).await;
    assert_eq!(server.run("run job").await, 125);
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_over() {
    fn pending(_: &str, _: &[u8]) -> (u16, String) {
        (200, json!({ "task": task("PENDING", None) }).to_string())
    }
    let server = Server::start(pending).await;
    assert_eq!(server.run("wait 3f2a running --timeout 0").await, 2);
}

#[tokio::test]
async fn no_server_is_said_by_the_code() {
    // A port that was free a moment ago.
    let url = format!(
        "http://{}",
        TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
    );
    let server = Server {
        url,
        calls: Calls::default(),
    };
    assert_eq!(server.run("ps").await, 69);
    let dir = tempfile::tempdir().unwrap();
    let words = ["ps", "--data", dir.path().to_str().unwrap()];
    assert_eq!(server.run_words(words).await, 69);
}

#[tokio::test]
async fn a_backup_is_whole_and_not_written_over() {
    fn backup(_: &str, _: &[u8]) -> (u16, String) {
        (200, "the state".to_owned())
    }
    let server = Server::start(backup).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("b");
    let line = ["backup", file.to_str().unwrap()];
    assert_eq!(server.run_words(line).await, 0);
    assert_eq!(std::fs::read(&file).unwrap(), b"the state");
    assert_eq!(server.run_words(line).await, 1);
    assert_eq!(server.run_words([line[0], line[1], "--force"]).await, 0);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
