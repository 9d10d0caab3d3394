//! The product under test: the real executable with a data folder, port and subnet of its own.

use crate::client::Client;
use crate::sign::Key;
use crate::speech::{INSIDE, SCRIPT, SCRIPT_SHORT};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Away from what a machine usually has.
const SUBNET: &str = "10.197.0.0/16";
const START_TIME: Duration = Duration::from_secs(30);
/// CPU shares of each container, the peer's too: what shares decide on a busy machine is no difference
/// between products.
pub(crate) const CPU: u32 = 32;
pub(crate) const IMAGE: &str = "busybox:latest";

pub(crate) struct Node {
    executable: PathBuf,
    folder: PathBuf,
    log: &'static str,
    child: Option<Child>,
    pub(crate) key: Key,
    pub(crate) address: String,
}

impl Node {
    /// Starts the product in `folder`. `log` is its log filter.
    pub(crate) async fn start(executable: &Path, folder: &Path, log: &'static str) -> Result<Node> {
        std::fs::create_dir_all(folder)?;
        let mut node = Node {
            executable: std::fs::canonicalize(executable)
                .with_context(|| format!("no executable {}", executable.display()))?,
            folder: folder.to_owned(),
            log,
            child: None,
            key: Key {
                id: String::new(),
                secret: String::new(),
            },
            address: String::from("127.0.0.1:0"),
        };
        node.up().await?;
        Ok(node)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The one place that knows the command line.
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.executable);
        command.args([verb, "--data"]).arg(self.data());
        if verb == "up" {
            command.args(["--listen", &self.address, "--subnet", SUBNET]);
        }
        command
    }

    /// Starts the process and waits until it says where it serves.
    pub(crate) async fn up(&mut self) -> Result<()> {
        self.spawn()?;
        let started = Instant::now();
        loop {
            if let Ok(text) = std::fs::read(self.data().join("endpoint"))
                && let Ok(endpoint) = serde_json::from_slice::<Value>(&text)
                && endpoint["pid"].as_u64() == Some(u64::from(self.pid()?))
            {
                let url = endpoint["url"]
                    .as_str()
                    .context("an endpoint without url")?;
                self.address = url.trim_start_matches("http://").to_owned();
                break;
            }
            let child = self.child.as_mut().context("it was not started")?;
            if child.try_wait()?.is_some() || started.elapsed() > START_TIME {
                let log = std::fs::read_to_string(self.log_path())?;
                bail!("windlass up did not serve:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let text = std::fs::read(self.data().join("credentials.json"))?;
        let credentials: Value = serde_json::from_slice(&text)?;
        let text = |name: &str| credentials[name].as_str().unwrap_or_default().to_owned();
        self.key = Key {
            id: text("accessKeyId"),
            secret: text("secretAccessKey"),
        };
        Ok(())
    }

    /// Starts the process and does not wait.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = self.command("up");
        command.env("WINDLASS_LOG", self.log).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("it was not started")?.id())
    }

    /// Ends the process by a signal, and waits for it.
    pub(crate) fn end(&mut self, signal: Signal) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                // It may have ended by itself.
                let _ = kill_process(pid, signal);
            }
            child.wait()?;
        }
        Ok(())
    }

    /// Ends the process and leaves nothing of it on the machine.
    pub(crate) fn down(&mut self) -> Result<()> {
        self.end(Signal::TERM)?;
        let output = self.command("down").output()?;
        if !output.status.success() {
            bail!("windlass down: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    pub(crate) async fn client(&self) -> Result<Client> {
        Client::connect(&self.address, &self.key).await
    }

    pub(crate) async fn load_image(&self, archive: &Path) -> Result<()> {
        let archive = std::fs::read(archive)?;
        self.client()
            .await?
            .own("LoadImage", archive)
            .await
            .map(drop)
    }

    /// Processes of the installation besides the server: shims.
    pub(crate) fn shims(&self) -> Result<Vec<u32>> {
        let text = std::fs::read(self.data().join("installation.json"))?;
        let installation: Value = serde_json::from_slice(&text)?;
        let id = installation["id"].as_str().context("no id")?;
        let cgroup = format!("/windlass-{id}");
        crate::machine::processes(|arguments| {
            arguments.iter().any(|word| word == "shim") && arguments.contains(&cgroup)
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What was meant to be measured failed: nothing may stay on the machine all the same.
        if self.child.is_some()
            && let Err(error) = self.down()
        {
            eprintln!("bench: {error:#}");
        }
    }
}

/// What a task of the bench is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) network: &'static str,
    pub(crate) containers: usize,
    /// Whether it waits to be told to end.
    pub(crate) waits: bool,
}

impl Shape {
    pub(crate) fn family(&self) -> String {
        let ends = if self.waits { "waits" } else { "ends" };
        format!("bench-{}-{}-{ends}", self.network, self.containers)
    }
}

pub(crate) async fn register(client: &mut Client, shape: Shape, speech: &Path) -> Result<()> {
    let script = if shape.waits { SCRIPT } else { SCRIPT_SHORT };
    let containers: Vec<Value> = (0..shape.containers)
        .map(|number| {
            json!({
                "name": format!("c{number}"), "image": IMAGE, "memory": 16, "cpu": CPU,
                "command": ["/bin/sh", "-c", script],
                "mountPoints": [{"sourceVolume": "speech", "containerPath": INSIDE}],
            })
        })
        .collect();
    let definition = json!({
        "family": shape.family(), "networkMode": shape.network,
        "containerDefinitions": containers,
        "volumes": [{"name": "speech", "host": {"sourcePath": speech}}],
    });
    client
        .ecs("RegisterTaskDefinition", &definition)
        .await
        .map(drop)
}

/// Starts `count` (at most ten) tasks.
pub(crate) async fn run(client: &mut Client, shape: Shape, count: usize) -> Result<()> {
    let mut request = json!({"taskDefinition": shape.family(), "count": count});
    if shape.network == "awsvpc" {
        request["networkConfiguration"] =
            json!({"awsvpcConfiguration": {"subnets": ["subnet-bench"]}});
    }
    let answer = client.ecs("RunTask", &request).await?;
    let started = answer["tasks"].as_array().map_or(0, Vec::len);
    if started != count {
        bail!(
            "{started} of {count} tasks were placed: {}",
            answer["failures"]
        );
    }
    Ok(())
}

/// Tasks that are not STOPPED.
pub(crate) async fn live_tasks(client: &mut Client) -> Result<u64> {
    let answer = client.own("ListNodes", Vec::new()).await?;
    let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
    let count = |node: &Value| {
        node["tasks"]
            .as_u64()
            .or_else(|| node["tasks"].as_array().map(|all| all.len() as u64))
    };
    Ok(nodes.iter().filter_map(count).sum())
}

/// Waits until at most so many tasks are left.
pub(crate) async fn wait_for_tasks(client: &mut Client, left: u64) -> Result<()> {
    let started = Instant::now();
    while live_tasks(client).await? > left {
        if started.elapsed() > Duration::from_secs(120) {
            bail!("tasks do not end");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
