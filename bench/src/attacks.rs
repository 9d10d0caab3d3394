//! 64 clients for a minute, with strangers at the door beside them: connections that say nothing,
//! HTTP/2 bodies under signatures that do not hold, uploads of a byte now and then, and clients that
//! ask and do not read. What matters is the slowest signed call, and that memory comes back.

use crate::load::{answer, request};
use crate::machine::pss_mib;
use crate::node::Node;
use crate::sign;
use anyhow::{Context, Result};
use http_body_util::channel::Channel;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CLIENTS: usize = 64;
const SPAN: Duration = Duration::from_secs(60);
/// Between two calls of a client.
const PAUSE: Duration = Duration::from_millis(20);
/// Calls on one connection: strangers are in the way of new ones.
const CALLS_PER_CONNECTION: usize = 10;
/// What no signed call may take.
const BOUND: Duration = Duration::from_secs(1);
const SILENT: usize = 1_100;
const STRANGERS_WITH_BODIES: usize = 40;
const STREAMS: usize = 16;
const SLOW_UPLOADS: usize = 8;
const DEAF: usize = 16;
/// Before an attacker whose connection was ended opens another.
const AGAIN: Duration = Duration::from_millis(50);
/// After the attack, until memory is looked at.
const SETTLE: Duration = Duration::from_secs(45);

pub(crate) async fn measure(node: &Node) -> Result<()> {
    let pids = [node.pid()?];
    let before = pss_mib(&pids)?;
    let alone = clients(node).await?;
    let stop = tokio_stop();
    let attackers = attack(node, stop.1)?;
    // All of them are there before the first call counts.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let beside = clients(node).await?;
    let during = pss_mib(&pids)?;
    drop(stop.0);
    let ended = tokio::task::spawn_blocking(move || attackers.join());
    let opened = ended
        .await?
        .map_err(|_| anyhow::anyhow!("the attackers panicked"))?;
    tokio::time::sleep(SETTLE).await;
    let after = pss_mib(&pids)?;
    println!(
        "\nsigned calls of {CLIENTS} clients for {} s, milliseconds",
        SPAN.as_secs()
    );
    println!(
        "  {:<28} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8}",
        "", "calls", "p50", "p99", "max", "over 1 s", "failed"
    );
    show("alone", alone);
    show("beside attackers", beside);
    println!("  connections the attackers opened: {opened}");
    println!(
        "  memory of the server, PSS MiB: {before:.1} before, {during:.1} during, {after:.1} after"
    );
    Ok(())
}

/// What came of the calls of all clients.
#[derive(Default)]
struct Calls {
    times: Vec<Duration>,
    /// Of those that were not answered, for whatever reason, and that nobody tried again.
    failed: Vec<String>,
}

fn show(what: &str, mut calls: Calls) {
    let times = &mut calls.times;
    times.sort();
    let at = |share: usize| {
        let time = times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    let over = times.iter().filter(|time| **time > BOUND).count();
    println!(
        "  {what:<28} {:>8} {:>8.2} {:>8.2} {:>8.2} {over:>10} {:>8}",
        times.len(),
        at(50),
        at(99),
        at(100),
        calls.failed.len()
    );
    if let Some(first) = calls.failed.first() {
        println!("    the first that failed: {first}");
    }
}

async fn clients(node: &Node) -> Result<Calls> {
    let begun = Instant::now();
    let mut workers = Vec::new();
    for number in 0..CLIENTS {
        let address = node.address.clone();
        let name = json!({ "clusterName": format!("attacked-{number}") });
        let requests = [
            request(node, "CreateCluster", &name),
            request(node, "ListClusters", &json!({})),
            request(
                node,
                "DescribeClusters",
                &json!({ "clusters": ["default"] }),
            ),
        ];
        workers.push(tokio::spawn(client(address, requests, begun)));
    }
    let mut all = Calls::default();
    for worker in workers {
        let calls = worker.await?;
        all.times.extend(calls.times);
        all.failed.extend(calls.failed);
    }
    Ok(all)
}

/// How long each call of one client took, a new connection included where one was made.
async fn client(address: String, requests: [Vec<u8>; 3], begun: Instant) -> Calls {
    let mut calls = Calls::default();
    let (mut connection, mut buffer) = (None, Vec::new());
    for (at, request) in requests.iter().cycle().enumerate() {
        if begun.elapsed() > SPAN {
            break;
        }
        let asked = Instant::now();
        if at % CALLS_PER_CONNECTION == 0 {
            connection = None;
        }
        match call(&address, connection.take(), request, &mut buffer).await {
            Ok(stream) => {
                calls.times.push(asked.elapsed());
                connection = Some(stream);
            }
            Err(err) => calls.failed.push(format!("{err:#}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    calls
}

async fn call(
    address: &str,
    connection: Option<TcpStream>,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<TcpStream> {
    let mut stream = match connection {
        Some(stream) => stream,
        None => TcpStream::connect(address).await?,
    };
    stream.write_all(request).await?;
    answer(&mut stream, buffer).await?;
    Ok(stream)
}

type Stop = tokio::sync::watch::Receiver<()>;

fn tokio_stop() -> (tokio::sync::watch::Sender<()>, Stop) {
    tokio::sync::watch::channel(())
}

/// On a thread of their own, until the sender is dropped. Gives how many connections were opened.
fn attack(node: &Node, mut stop: Stop) -> Result<std::thread::JoinHandle<usize>> {
    let address: &'static str = Box::leak(node.address.clone().into_boxed_str());
    let stranger = sign::Key {
        id: node.key.id.clone(),
        secret: "not the secret".into(),
    };
    let list = "AmazonEC2ContainerServiceV20141113.ListClusters";
    let wrong = sign::headers(&stranger, address, list, b"");
    let upload = head(
        &sign::headers(&node.key, address, "Windlass.LoadImage", b""),
        1 << 30,
    );
    let unread = request(node, "ListClusters", &json!({})).repeat(500);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let spawned = std::thread::Builder::new()
        .name("attackers".into())
        .spawn(move || {
            let opened = std::rc::Rc::new(std::cell::Cell::new(0));
            let local = tokio::task::LocalSet::new();
            for _ in 0..SILENT {
                local.spawn_local(again(opened.clone(), move || silent(address)));
            }
            for _ in 0..STRANGERS_WITH_BODIES {
                let wrong = wrong.clone();
                local.spawn_local(again(opened.clone(), move || {
                    bodies(address, wrong.clone())
                }));
            }
            for _ in 0..SLOW_UPLOADS {
                let upload = upload.clone();
                local.spawn_local(again(opened.clone(), move || drip(address, upload.clone())));
            }
            for _ in 0..DEAF {
                let unread = unread.clone();
                local.spawn_local(again(opened.clone(), move || deaf(address, unread.clone())));
            }
            runtime.block_on(local.run_until(async move {
                // An error says that they are to end.
                while stop.changed().await.is_ok() {}
            }));
            opened.get()
        });
    spawned.context("starting the attackers")
}

/// One attacker, who begins again whenever the server has had enough.
async fn again<F: Future<Output = Result<()>>>(
    opened: std::rc::Rc<std::cell::Cell<usize>>,
    once: impl Fn() -> F,
) {
    loop {
        opened.set(opened.get() + 1);
        // How it ends is the server's choice.
        let _ = once().await;
        tokio::time::sleep(AGAIN).await;
    }
}

fn head(headers: &[(&str, String)], length: u64) -> Vec<u8> {
    let mut text = String::from("POST / HTTP/1.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {length}\r\n\r\n"));
    text.into_bytes()
}

async fn silent(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.read_u8().await?;
    Ok(())
}

/// Bodies that are never whole, on all streams of one HTTP/2 connection.
async fn bodies(address: &str, headers: Vec<(&'static str, String)>) -> Result<()> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let mut bodies = Vec::new();
    for _ in 0..STREAMS {
        let (mut body, content) = Channel::<Bytes>::new(1);
        let mut request = Request::post(format!("http://{address}/"));
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, value.as_str());
        }
        let answer = sender.send_request(request.body(content)?);
        bodies.push(async move {
            let piece = Bytes::from(vec![b' '; 16 << 10]);
            for _ in 0..15 {
                body.send_data(piece.clone()).await?;
            }
            answer.await?;
            anyhow::Ok(body)
        });
    }
    tokio::select! {
        ended = connection => ended?,
        _ = futures_util::future::join_all(bodies) => {}
    }
    Ok(())
}

/// A signed upload of a byte each two seconds.
async fn drip(address: &str, head: Vec<u8>) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&head).await?;
    loop {
        stream.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Signed calls whose answers nobody reads.
async fn deaf(address: &str, requests: Vec<u8>) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    loop {
        stream.write_all(&requests).await?;
    }
}
