//! `run` under Ctrl-C. Signals reach the whole process, so this file has one test and a process of
//! its own.

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Channel, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use windlass_cli::{Environment, parse, run};

/// One task, which runs until it is asked to stop; a stubborn one until it is killed, and an immortal
/// one for ever.
#[derive(Default)]
struct World {
    stubborn: bool,
    immortal: bool,
    stop_asked: AtomicBool,
    killed: AtomicBool,
    stopped: Notify,
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    world: Arc<World>,
) -> Result<Response<Body>, Infallible> {
    let target = request.headers()["x-amz-target"]
        .to_str()
        .unwrap()
        .to_owned();
    let killed = world.killed.load(Ordering::SeqCst) && !world.immortal;
    let ended = killed || world.stop_asked.load(Ordering::SeqCst) && !world.stubborn;
    let code = if killed { 137 } else { 143 };
    let status = if ended { "STOPPED" } else { "RUNNING" };
    let task = json!({
        "taskArn": "arn:task/default/3f2a00000000000000000000000000aa", "lastStatus": status,
        "containers": [{ "name": "app", "lastStatus": status, "exitCode": ended.then_some(code) }],
    });
    let answer: Value = match target.rsplit('.').next().unwrap() {
        "DescribeTaskDefinition" => json!({ "taskDefinition": {
            "taskDefinitionArn": "arn:task-definition/job:1", "containerDefinitions": [{ "name": "app" }],
        }}),
        "RunTask" => json!({ "tasks": [task], "failures": [] }),
        "FindTask" => json!({ "task": task }),
        "DescribeHistory" => json!({ "subject": "", "entries": [] }),
        "GetLogs" => return Ok(Response::new(logs(world))),
        "StopTask" if target.starts_with("Windlass.") => {
            world.killed.store(true, Ordering::SeqCst);
            match world.immortal {
                true => interrupt(),
                false => world.stopped.notify_one(),
            }
            json!({ "task": task })
        }
        "StopTask" => {
            if world.stop_asked.swap(true, Ordering::SeqCst) {
                panic!("a second stop was asked for");
            }
            if world.stubborn {
                interrupt();
            } else {
                world.stopped.notify_one();
            }
            json!({ "task": task })
        }
        other => panic!("{other}"),
    };
    Ok(Response::new(Full::new(answer.to_string().into()).boxed()))
}

/// A record in two pieces, then silence until the task stops.
fn logs(world: Arc<World>) -> Body {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
    tokio::spawn(async move {
        let record = json!({ "container": "app", "stream": "stderr", "text": "ready",
                             "timestamp": "2026-01-01T00:00:00Z", "partial": false });
        let text = format!("{record}\n");
        let (first, second) = text.split_at(20);
        for piece in [first, second] {
            sender.send_data(piece.to_owned().into()).await.unwrap();
            tokio::task::yield_now().await;
        }
        interrupt();
        world.stopped.notified().await;
    });
    body.boxed()
}

/// Ctrl-C, as a terminal sends it. The handler is there: the logs are followed only after it.
fn interrupt() {
    let id = std::process::id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status()
        .unwrap();
    assert!(sent.success());
}

async fn code_with(world: World) -> u8 {
    let world = Arc::new(world);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = world.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let world = served.clone();
            let service = service_fn(move |request| answer(request, world.clone()));
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
        }
    });
    let vars = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let vars = vars
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let environment = Environment {
        vars,
        ..Environment::default()
    };
    let args = parse(["windlass", "run", "job"].map(Into::into)).unwrap();
    let code = run(args, &environment).await;
    assert!(world.stop_asked.load(Ordering::SeqCst));
    code
}

#[tokio::test]
async fn the_first_interrupt_stops_the_second_kills_and_the_third_leaves() {
    assert_eq!(code_with(World::default()).await, 143);
    let stubborn = || World {
        stubborn: true,
        ..World::default()
    };
    assert_eq!(code_with(stubborn()).await, 137);
    let immortal = World {
        immortal: true,
        ..stubborn()
    };
    assert_eq!(code_with(immortal).await, 130);
}
