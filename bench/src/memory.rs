//! What the product's processes hold and use: idle, and for each running task.

use crate::docker::{self, Docker};
use crate::figures::{Better, Samples, head, line};
use crate::machine::{cpu_ns, pss_mib};
use crate::node::{self, Node, Shape};
use crate::speech::Speech;
use anyhow::Result;
use std::time::{Duration, Instant};

const SHAPE: Shape = Shape {
    network: "bridge",
    containers: 1,
    waits: true,
};
const SETTLE: Duration = Duration::from_secs(2);
const IDLE_SPAN: Duration = Duration::from_secs(10);
const MANY: usize = 30;

pub(crate) async fn measure(node: &Node, peer: Option<&Docker>, speech: &mut Speech) -> Result<()> {
    let our_processes = || -> Result<Vec<u32>> {
        let mut pids = node.shims()?;
        pids.push(node.pid()?);
        Ok(pids)
    };
    let mut client = node.client().await?;
    node::register(&mut client, SHAPE, &speech.folder).await?;
    let (mut idle, mut cpu) = (both(), both());
    let mut tasks = [both(), both()];
    tokio::time::sleep(SETTLE).await;
    let empty = pss_mib(&our_processes()?)?;
    idle[0].push_round(vec![empty]);
    cpu[0].push_round(vec![cpu_share(&our_processes()?).await]);
    let mut running = 0;
    for (case, count) in [1, MANY].into_iter().enumerate() {
        while running < count {
            let more = (count - running).min(10);
            node::run(&mut client, SHAPE, more).await?;
            speech.wait(more).await?;
            running += more;
        }
        tokio::time::sleep(SETTLE).await;
        let each = (pss_mib(&our_processes()?)? - empty) / count as f64;
        tasks[case][0].push_round(vec![each]);
    }
    speech.end(running)?;
    node::wait_for_tasks(&mut client, 0).await?;
    if let Some(docker) = peer {
        of_docker(docker, speech, &mut idle[1], &mut cpu[1], &mut tasks).await?;
    }
    head("memory and processor of the product's own processes (peer: dockerd, containerd, shims)");
    line(
        "idle, PSS MiB, spare shims included",
        &idle[0],
        &idle[1],
        Better::Less,
    );
    line(
        "idle, % of one processor over 10 s",
        &cpu[0],
        &cpu[1],
        Better::Less,
    );
    for (case, name) in ["each of 1 task, PSS MiB", "each of 30 tasks, PSS MiB"]
        .iter()
        .enumerate()
    {
        line(name, &tasks[case][0], &tasks[case][1], Better::Less);
    }
    Ok(())
}

fn both() -> [Samples; 2] {
    [Samples::default(), Samples::default()]
}

async fn cpu_share(pids: &[u32]) -> f64 {
    let (before, started) = (cpu_ns(pids), Instant::now());
    tokio::time::sleep(IDLE_SPAN).await;
    let used = cpu_ns(pids).saturating_sub(before);
    used as f64 / 1e7 / started.elapsed().as_secs_f64()
}

async fn of_docker(
    docker: &Docker,
    speech: &mut Speech,
    idle: &mut Samples,
    cpu: &mut Samples,
    tasks: &mut [[Samples; 2]; 2],
) -> Result<()> {
    let mut connection = docker.connect().await?;
    tokio::time::sleep(SETTLE).await;
    let empty = pss_mib(&docker.processes()?)?;
    idle.push_round(vec![empty]);
    cpu.push_round(vec![cpu_share(&docker.processes()?).await]);
    let mut ids = Vec::new();
    for (case, count) in [1, MANY].into_iter().enumerate() {
        while ids.len() < count {
            ids.push(docker::start(&mut connection, "bridge", true, &speech.folder).await?);
            speech.wait(1).await?;
        }
        tokio::time::sleep(SETTLE).await;
        let each = (pss_mib(&docker.processes()?)? - empty) / count as f64;
        tasks[case][1].push_round(vec![each]);
    }
    speech.end(ids.len())?;
    for id in ids {
        docker::remove(&mut connection, &id).await?;
    }
    Ok(())
}
