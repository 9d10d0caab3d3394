//! The peer: a Docker daemon of the bench's own in a scratch folder, driven by its API.
//!
//! It manages no firewall rules, which spares it work and leaves the machine's alone.

use crate::client::Connection;
use crate::node::CPU;
use crate::speech::{INSIDE, SCRIPT, SCRIPT_SHORT};
use anyhow::{Context, Result, bail};
use hyper::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BRIDGE: &str = "wlbench0";
const BRIDGE_ADDRESS: &str = "10.198.0.1/24";
const START_TIME: Duration = Duration::from_secs(60);

pub(crate) struct Docker {
    folder: PathBuf,
    child: Child,
    socket: PathBuf,
}

impl Docker {
    pub(crate) async fn start(folder: &Path) -> Result<Docker> {
        std::fs::create_dir_all(folder)?;
        ip(&["link", "add", "name", BRIDGE, "type", "bridge"])?;
        ip(&["addr", "add", BRIDGE_ADDRESS, "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        let socket = folder.join("docker.sock");
        let log = File::create(folder.join("log"))?;
        let within = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let child = Command::new("dockerd")
            .args(["--host", &format!("unix://{}", socket.display())])
            .args([
                "--data-root",
                &within("data"),
                "--exec-root",
                &within("exec"),
            ])
            .args(["--pidfile", &within("pid"), "--bridge", BRIDGE])
            .args([
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
            ])
            .args([
                "--ip-masq=false",
                "--exec-opt",
                "native.cgroupdriver=cgroupfs",
            ])
            .args(["--storage-driver", "overlay2", "--log-level", "warn"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start dockerd: `make bench PEERS=1` installs it")?;
        let mut docker = Docker {
            folder: folder.to_owned(),
            child,
            socket,
        };
        docker.wait().await?;
        Ok(docker)
    }

    async fn wait(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Ok(mut connection) = Connection::unix(&self.socket).await
                && let Ok((200, _)) = connection
                    .send(Method::GET, "/_ping", &[], Vec::new())
                    .await
            {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() || started.elapsed() > START_TIME {
                let log = std::fs::read_to_string(self.folder.join("log"))?;
                bail!("dockerd does not serve:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::unix(&self.socket).await
    }

    /// Imports the only layer of an OCI archive, so that both run the same files.
    pub(crate) async fn load_image(&self, archive: &Path) -> Result<()> {
        let layer = largest_blob(archive)?;
        let path = "/images/create?fromSrc=-&repo=busybox&tag=latest";
        let headers = [("content-type", "application/x-tar".to_owned())];
        let mut connection = self.connect().await?;
        let sent = connection.send(Method::POST, path, &headers, layer);
        let (status, body) = sent.await?;
        if status != 200 {
            bail!("docker import: {}", String::from_utf8_lossy(&body));
        }
        Ok(())
    }

    /// Processes of this daemon: itself, its containerd and their shims.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        let folder = self.folder.to_string_lossy().into_owned();
        crate::machine::processes(|arguments| {
            let known = ["dockerd", "containerd"];
            let name = arguments.first().map_or("", String::as_str);
            let name = name.rsplit('/').next().unwrap_or_default();
            known.iter().any(|known| name.starts_with(known))
                && arguments.iter().any(|word| word.contains(&folder))
        })
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
        if let Err(error) = ip(&["link", "del", BRIDGE]) {
            eprintln!("bench: {error:#}");
        }
    }
}

/// Creates and starts a container; answers its id.
pub(crate) async fn start(
    connection: &mut Connection,
    network: &str,
    waits: bool,
    speech: &Path,
) -> Result<String> {
    let script = if waits { SCRIPT } else { SCRIPT_SHORT };
    let created = post(
        connection,
        "/containers/create",
        &json!({
            "Image": "busybox:latest", "Cmd": ["/bin/sh", "-c", script],
            "HostConfig": {
                "NetworkMode": network, "Memory": 16 << 20, "CpuShares": CPU,
                "Binds": [format!("{}:{INSIDE}", speech.display())],
            },
        }),
    )
    .await?;
    let id = created["Id"]
        .as_str()
        .context("docker create: no id")?
        .to_owned();
    post(connection, &format!("/containers/{id}/start"), &Value::Null).await?;
    Ok(id)
}

/// Waits for a container's end and removes it.
pub(crate) async fn remove(connection: &mut Connection, id: &str) -> Result<()> {
    post(connection, &format!("/containers/{id}/wait"), &Value::Null).await?;
    let path = format!("/containers/{id}?v=1");
    let (status, body) = connection
        .send(Method::DELETE, &path, &[], Vec::new())
        .await?;
    if status >= 300 {
        bail!("docker rm: {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}

async fn post(connection: &mut Connection, path: &str, body: &Value) -> Result<Value> {
    let headers = [("content-type", "application/json".to_owned())];
    let body = match body {
        Value::Null => Vec::new(),
        body => serde_json::to_vec(body)?,
    };
    let (status, body) = connection.send(Method::POST, path, &headers, body).await?;
    if status >= 300 {
        bail!("docker {path}: {status} {}", String::from_utf8_lossy(&body));
    }
    Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("run ip")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), error.trim());
    }
    Ok(())
}

/// An archive of one layer has no larger blob.
fn largest_blob(archive: &Path) -> Result<Vec<u8>> {
    let mut largest = Vec::new();
    let mut archive = tar::Archive::new(File::open(archive)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.size() > largest.len() as u64 {
            largest.clear();
            entry.read_to_end(&mut largest)?;
        }
    }
    Ok(largest)
}
