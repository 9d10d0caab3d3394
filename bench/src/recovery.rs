//! From `kill -9` of the server to the first answered API call, with 10,000 tasks known.

use crate::figures::{Better, Samples, head, line};
use crate::node::{Node, Shape};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};
use windlass_cluster::Answer;
use windlass_model::cluster::ContainerInsights;
use windlass_model::command::{Command, CreateCluster, NewTask, Request, RunTask};
use windlass_model::definition::DefinitionRef;
use windlass_model::id::{BootId, Name, NodeId};
use windlass_model::instance::Node as Instance;
use windlass_model::resources::Resources;
use windlass_server::{Handle, Leader};

const TASKS: usize = 10_000;
const CLUSTER: &str = "bench-known";
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn measure(
    rounds: usize,
    node: &mut Node,
    shape: Shape,
    label: &str,
) -> Result<()> {
    node.end(Signal::TERM)?;
    let (store, kept) = (node.data().join("store"), node.data().join("store-kept"));
    copy(&store, &kept)?;
    fill(node, &shape.family()).await?;
    node.up().await?;
    let listed = node
        .client()
        .await?
        .ecs("ListTasks", &json!({"cluster": CLUSTER}))
        .await?;
    let tasks = listed["taskArns"].as_array().context("no taskArns")?;
    let task = tasks
        .first()
        .cloned()
        .context("the filled store has no task")?;
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let killed = Instant::now();
        node.end(Signal::KILL)?;
        node.spawn()?;
        loop {
            if let Ok(mut client) = node.client().await
                && let Ok(answer) = client
                    .ecs(
                        "DescribeTasks",
                        &json!({"cluster": CLUSTER, "tasks": [task]}),
                    )
                    .await
                && answer["tasks"]
                    .as_array()
                    .is_some_and(|tasks| tasks.len() == 1)
            {
                break;
            }
            if killed.elapsed() > PATIENCE {
                bail!("it does not serve again");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        samples.push_round(vec![killed.elapsed().as_secs_f64() * 1e3]);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let journal = journal_bytes(&store)?;
    // Nobody would ever stop the tasks of a node that is not there.
    node.end(Signal::TERM)?;
    std::fs::remove_dir_all(&store)?;
    std::fs::rename(&kept, &store)?;
    node.up().await?;
    head("kill -9 of the server to a known task described again, ms");
    line(label, &samples, &Samples::default(), Better::Less);
    println!("  its journal: {} MiB", journal >> 20);
    Ok(())
}

/// Bytes that the journals of a store take on disk: they are allocated ahead, with a hole.
fn journal_bytes(store: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(store.join("engine"))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "jnl") {
            bytes += entry.metadata()?.blocks() * 512;
        }
    }
    Ok(bytes)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Runs the tasks on a node that is not there, through the product's own leader.
async fn fill(node: &Node, family: &str) -> Result<()> {
    let store = windlass_store::Embedded::open(&node.data().join("store"), Default::default())?;
    let clock = Box::new(windlass_server::clock::SystemClock::new());
    let (leader, handle) = Leader::open(windlass_server::Options {
        store: Box::new(store),
        clock,
        term: 1,
    })?;
    let thread = std::thread::spawn(move || leader.run());
    let cluster = Name::new(CLUSTER)?;
    ask(
        &handle,
        Command::CreateCluster(new_cluster(cluster.clone())),
    )
    .await?;
    let absent = absent_node();
    let id = absent.id;
    ask(&handle, Command::NodeConnected(Box::new(absent))).await?;
    ask(
        &handle,
        Command::AddNode {
            node: id,
            cluster: cluster.clone(),
        },
    )
    .await?;
    let mut placed = 0;
    while placed < TASKS {
        let run = Command::RunTask(Box::new(new_tasks(&cluster, family)?));
        match ask(&handle, run).await? {
            Answer::Run { tasks, .. } if !tasks.is_empty() => placed += tasks.len(),
            _ => bail!("only {placed} tasks found a place"),
        }
    }
    handle.stop();
    let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
    ended.map_err(|_| anyhow::anyhow!("the leader panicked"))?;
    Ok(())
}

async fn ask(handle: &Handle, command: Command) -> Result<Answer> {
    let caller = String::from("bench");
    Ok(handle.ask(Request { caller, command }).await?)
}

fn absent_node() -> Instance {
    Instance {
        id: NodeId(0xbe7c),
        name: "absent".into(),
        boot: BootId(1),
        total: Resources {
            cpu_units: 1 << 40,
            memory_mib: 1 << 40,
            ports: BTreeSet::new(),
            links: 1 << 20,
        },
        attributes: Vec::new(),
        availability_zone: "us-east-1a".into(),
        agent_version: "0".into(),
        address: "127.0.0.1".into(),
        connected: true,
        isolation: String::new(),
        ports_in_use: Default::default(),
        connection_changed_at: None,
        joins_on_demand: false,
    }
}

fn new_cluster(name: Name) -> CreateCluster {
    CreateCluster {
        name,
        tags: Vec::new(),
        container_insights: ContainerInsights::default(),
        configuration: None,
        capacity_providers: Vec::new(),
        default_strategy: Vec::new(),
        namespace: None,
    }
}

fn new_tasks(cluster: &Name, family: &str) -> Result<RunTask> {
    Ok(RunTask {
        task: NewTask {
            cluster: cluster.clone(),
            definition: DefinitionRef::Latest(Name::new(family)?),
            group: None,
            started_by: None,
            overrides: Default::default(),
            network: None,
            enable_execute_command: false,
            enable_ecs_managed_tags: false,
            propagate_definition_tags: false,
            tags: Vec::new(),
            reference_id: None,
            volumes: Vec::new(),
            pull: None,
        },
        count: 10,
        launch: None,
        strategy: Vec::new(),
        platform_version: None,
        constraints: Vec::new(),
        strategies: Vec::new(),
        client_token: None,
        fingerprint: [0; 32],
    })
}
