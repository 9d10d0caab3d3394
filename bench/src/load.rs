//! Requests per second at the front door: durable mutations and reads, each signed. The requests
//! are signed ahead and the client is a bare socket, so that the server has most of the processor;
//! it still shares it with this client.

use crate::figures::{Better, Samples, head, line};
use crate::node::Node;
use crate::sign;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CLIENTS: usize = 64;
const SPAN: Duration = Duration::from_secs(2);

pub(crate) async fn measure(rounds: usize, node: &Node) -> Result<()> {
    let mut client = node.client().await?;
    let mut clusters = Vec::new();
    for number in 0..CLIENTS {
        let name = json!({"clusterName": format!("bench-{number}")});
        let made = client.ecs("CreateCluster", &name).await?;
        let arn = made["cluster"]["clusterArn"]
            .as_str()
            .context("no clusterArn")?;
        clusters.push(arn.to_owned());
    }
    // A stopped task is shown as a running one is.
    let stopped = client
        .ecs("ListTasks", &json!({"desiredStatus": "STOPPED"}))
        .await?;
    let task = stopped["taskArns"][0]
        .as_str()
        .context("no task of earlier measurements")?;
    let describe = json!({"tasks": [task]});

    let mutations = |number: usize| -> Vec<Vec<u8>> {
        // Two values in turn, so that each request changes something.
        let tagged = |value: &str| {
            let tags = json!([{"key": "bench", "value": value}]);
            let body = json!({"resourceArn": clusters[number], "tags": tags});
            request(node, "TagResource", &body)
        };
        vec![tagged("a"), tagged("b")]
    };
    let reads = |_: usize| vec![request(node, "DescribeTasks", &describe)];
    let (mut many, mut one, mut read) =
        (Samples::default(), Samples::default(), Samples::default());
    let none = Samples::default();
    for _ in 0..rounds {
        many.push_round(vec![drive(node, CLIENTS, &mutations).await?]);
        let rate = drive(node, 1, &mutations).await?;
        one.push_round(vec![1e6 / rate]);
        read.push_round(vec![drive(node, CLIENTS, &reads).await?]);
    }
    head("front door, signed requests; client and server share the processors");
    line(
        "durable mutations per second, 64 clients",
        &many,
        &none,
        Better::More,
    );
    line(
        "one durable mutation, 1 client, mean us",
        &one,
        &none,
        Better::Less,
    );
    line(
        "signed DescribeTasks per second, 64 clients",
        &read,
        &none,
        Better::More,
    );
    Ok(())
}

/// The bytes of one signed request.
pub(crate) fn request(node: &Node, operation: &str, body: &Value) -> Vec<u8> {
    let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
    let body = body.to_string().into_bytes();
    let mut text = String::from("POST / HTTP/1.1\r\n");
    for (name, value) in sign::headers(&node.key, &node.address, &target, &body) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut bytes = text.into_bytes();
    bytes.extend(body);
    bytes
}

/// Answers per second with so many clients, each one request at a time.
async fn drive(
    node: &Node,
    clients: usize,
    requests: &impl Fn(usize) -> Vec<Vec<u8>>,
) -> Result<f64> {
    let started = Instant::now();
    let mut workers = Vec::new();
    for number in 0..clients {
        let (address, requests) = (node.address.clone(), requests(number));
        workers.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let (mut count, mut buffer) = (0_u64, Vec::new());
            for request in requests.iter().cycle() {
                if started.elapsed() > SPAN {
                    break;
                }
                stream.write_all(request).await?;
                answer(&mut stream, &mut buffer).await?;
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    let mut total = 0;
    for worker in workers {
        total += worker.await??;
    }
    Ok(total as f64 / started.elapsed().as_secs_f64())
}

/// Reads one answer to its end; it must be a success.
pub(crate) async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&buffer[..end])?;
        if !text.starts_with("HTTP/1.1 200") {
            bail!("refused: {}", String::from_utf8_lossy(buffer));
        }
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.context("an answer without content-length")?;
        if buffer.len() >= end + 4 + length {
            return Ok(());
        }
    }
}
