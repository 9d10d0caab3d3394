//! Tasks started and stopped per second on one node: each runs one process that speaks and exits,
//! and counts when nothing of it is left to do.

use crate::docker::{self, Docker};
use crate::figures::{Better, Samples, head, line};
use crate::node::{self, Node, Shape};
use crate::speech::Speech;
use anyhow::Result;
use std::time::Instant;

const SHAPE: Shape = Shape {
    network: "bridge",
    containers: 1,
    waits: false,
};
/// Tasks at a time, on both sides.
const WIDTH: usize = 10;

pub(crate) async fn measure(
    rounds: usize,
    node: &Node,
    peer: Option<&Docker>,
    speech: &mut Speech,
) -> Result<()> {
    let mut client = node.client().await?;
    node::register(&mut client, SHAPE, &speech.folder).await?;
    let (mut ours, mut peers) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        let (started, total) = (Instant::now(), 10 * WIDTH);
        for _ in 0..total / WIDTH {
            // A second ten is let in when the first is half through.
            node::wait_for_tasks(&mut client, WIDTH as u64 / 2).await?;
            node::run(&mut client, SHAPE, WIDTH).await?;
        }
        node::wait_for_tasks(&mut client, 0).await?;
        let seconds = started.elapsed().as_secs_f64();
        speech.wait(total).await?;
        ours.push_round(vec![total as f64 / seconds]);
        if let Some(docker) = peer {
            peers.push_round(vec![of_docker(docker, speech).await?]);
        }
    }
    head("tasks started and stopped, per second (peer: Docker create + start + wait + remove)");
    line(
        "bridge, 1 container, 5 to 15 at a time (peer 10)",
        &ours,
        &peers,
        Better::More,
    );
    Ok(())
}

async fn of_docker(docker: &Docker, speech: &mut Speech) -> Result<f64> {
    let started = Instant::now();
    let mut workers = Vec::new();
    for _ in 0..WIDTH {
        let (mut connection, folder) = (docker.connect().await?, speech.folder.clone());
        workers.push(tokio::spawn(async move {
            for _ in 0..2 {
                let id = docker::start(&mut connection, "bridge", false, &folder).await?;
                docker::remove(&mut connection, &id).await?;
            }
            anyhow::Ok(())
        }));
    }
    for worker in workers {
        worker.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    speech.wait(2 * WIDTH).await?;
    Ok(2.0 * WIDTH as f64 / seconds)
}
