//! From the RunTask call to the moment the container's own process speaks, in turns with Docker's
//! create and start.

use crate::client::{Client, Connection};
use crate::docker::{self, Docker};
use crate::figures::{Better, Samples, head, line};
use crate::node::{self, Node, Shape};
use crate::speech::{Said, Speech};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Between two starts: pools fill again, and the last one's remains go.
const PAUSE: Duration = Duration::from_millis(150);

const NETWORKS: [(&str, &str); 3] = [("none", "none"), ("bridge", "bridge"), ("awsvpc", "bridge")];

pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) ours: usize,
    pub(crate) peers: usize,
}

pub(crate) async fn measure(
    plan: &Plan,
    node: &Node,
    peer: Option<&Docker>,
    speech: &mut Speech,
) -> Result<()> {
    let mut client = node.client().await?;
    let mut cases = Vec::new();
    for containers in [1, 2] {
        for (network, peer_network) in NETWORKS {
            let shape = Shape {
                network,
                containers,
                waits: true,
            };
            node::register(&mut client, shape, &speech.folder).await?;
            // What is done once per definition or image is not measured.
            one(&mut client, shape, speech).await?;
            cases.push((shape, peer_network, Samples::default(), Samples::default()));
        }
    }
    for _ in 0..plan.rounds {
        for (shape, peer_network, ours, peers) in &mut cases {
            let mut samples = Vec::new();
            for _ in 0..plan.ours {
                samples.push(one(&mut client, *shape, speech).await?.0);
            }
            ours.push_round(samples);
            if let Some(docker) = peer {
                let mut samples = Vec::new();
                for _ in 0..plan.peers {
                    let count = shape.containers;
                    samples.push(one_of_docker(docker, peer_network, count, speech).await?);
                }
                peers.push_round(samples);
            }
        }
    }
    head(
        "RunTask call to the container's own process speaking, ms (peer: Docker API create + start)",
    );
    for (shape, _, ours, peers) in &cases {
        let plural = if shape.containers == 1 { "" } else { "s" };
        let name = format!("{}, {} container{plural}", shape.network, shape.containers);
        line(&name, ours, peers, Better::Less);
    }
    Ok(())
}

/// One task's life. Answers the time to its last container's word in ms, and that word.
pub(crate) async fn one(
    client: &mut Client,
    shape: Shape,
    speech: &mut Speech,
) -> Result<(f64, Said)> {
    let called = Instant::now();
    node::run(client, shape, 1).await?;
    let said = speech.wait(shape.containers).await?;
    speech.end(shape.containers)?;
    node::wait_for_tasks(client, 0).await?;
    tokio::time::sleep(PAUSE).await;
    Ok(((said.at - called).as_secs_f64() * 1e3, said))
}

async fn one_of_docker(
    docker: &Docker,
    network: &str,
    containers: usize,
    speech: &mut Speech,
) -> Result<f64> {
    let mut connections: Vec<Connection> = Vec::new();
    for _ in 0..containers {
        connections.push(docker.connect().await?);
    }
    let folder = speech.folder.clone();
    let called = Instant::now();
    // Side by side: the best that a client of Docker can do.
    let ids = match &mut connections[..] {
        [a, b] => {
            let starts = (
                docker::start(a, network, true, &folder),
                docker::start(b, network, true, &folder),
            );
            let (a, b) = tokio::join!(starts.0, starts.1);
            vec![a?, b?]
        }
        [one, ..] => vec![docker::start(one, network, true, &folder).await?],
        [] => Vec::new(),
    };
    let said = speech.wait(containers).await?;
    speech.end(containers)?;
    for (id, connection) in ids.iter().zip(&mut connections) {
        docker::remove(connection, id).await?;
    }
    tokio::time::sleep(PAUSE).await;
    Ok((said.at - called).as_secs_f64() * 1e3)
}
