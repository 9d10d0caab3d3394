//! What an installation has on the machine beside its data folder, and how it goes.

use crate::installation::Installation;
use crate::plane::{OWN_PROGRAM, Plane};
use crate::run_folder;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use windlass_network::Network;
use windlass_runtime::Runtime;
use windlass_runtime::embedded::{self, Embedded};
use windlass_runtime::spec::SandboxId;

/// How long the agent's workers may take to end.
const WORKERS_TIMEOUT: Duration = Duration::from_secs(10);
const WORKERS_POLL: Duration = Duration::from_millis(10);
/// How long containers may take that are ended without their definition's own timeout.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_POLL: Duration = Duration::from_millis(50);

/// Every sandbox that is left ends, and everything on the machine that carries the installation's
/// name goes.
pub(crate) async fn remove_traces(plane: Plane, installation: &Installation) -> Result<()> {
    let sandboxes = plane.runtime.list().await?.into_iter().map(|s| s.id);
    let mut faults = remove_sandboxes(&plane.runtime, sandboxes.collect()).await;
    let (network, runtime, closing) = plane.end_agent().await;
    drop(runtime);
    match sole(network).await {
        Some(network) => {
            if let Err(err) = network.down().await {
                faults.push(err.to_string());
            }
        }
        None => faults.push("the network is still in use by the agent".into()),
    }
    faults.extend(remove_rest(installation));
    // Last: whoever comes next on this folder finds nothing half removed.
    let closed = closing.close().await;
    tell(&faults).and(closed)
}

/// The same without the state: by the names that everything of the installation carries.
pub(crate) async fn remove_by_name(installation: &Installation) -> Result<()> {
    let run_dir = installation.run_dir();
    run_folder::prepare(&run_dir)?;
    let runtime = Arc::new(Embedded::new(embedded::Options {
        run_dir: run_dir.join("sandboxes"),
        executable: PathBuf::from(OWN_PROGRAM),
        cgroup_root: installation.cgroup(),
        spare_shims: 0,
    })?);
    let sandboxes: Vec<SandboxId> = runtime.list().await?.into_iter().map(|s| s.id).collect();
    if !sandboxes.is_empty() {
        eprintln!("stopping {} tasks", sandboxes.len());
    }
    stop_containers(&runtime).await?;
    let mut faults = remove_sandboxes(&runtime, sandboxes).await;
    drop(runtime);
    let id = installation.id.parse::<windlass_network::Installation>()?;
    if let Err(err) = Network::remove(id, run_dir.join("network")).await {
        faults.push(err.to_string());
    }
    // What is left of sandboxes whose folders are gone, and their shims.
    let cgroup = installation.cgroup();
    let killed = windlass_runtime::start::kill_cgroup(&cgroup)
        .and_then(|()| windlass_runtime::start::kill_shims(&cgroup));
    faults.extend(killed.err().map(|err| err.to_string()));
    faults.extend(remove_rest(installation));
    tell(&faults)
}

/// All at once: one whose shim does not answer takes a while.
async fn remove_sandboxes(runtime: &Arc<Embedded>, sandboxes: Vec<SandboxId>) -> Vec<String> {
    let mut removals = JoinSet::new();
    for sandbox in sandboxes {
        let runtime = runtime.clone();
        removals.spawn(async move { runtime.remove_sandbox(&sandbox).await });
    }
    let removed = removals.join_all().await.into_iter();
    let errors = removed.filter_map(Result::err).flatten();
    errors.map(|error| error.to_string()).collect()
}

/// Asks every container to stop and waits for a while: whatever has not ended then is killed.
async fn stop_containers(runtime: &Embedded) -> Result<()> {
    let alive = |status| {
        use windlass_runtime::state::Status;
        matches!(status, Status::Running | Status::Stopping | Status::Killing)
    };
    let asked = Instant::now();
    let mut told = false;
    loop {
        let mut left = 0;
        for sandbox in runtime.list().await? {
            let containers = sandbox.containers.iter().filter(|c| alive(c.status));
            for container in containers {
                left += 1;
                if !told && let Err(err) = runtime.stop(&sandbox.id, &container.name).await {
                    tracing::warn!(%err, "a container is killed instead of stopped");
                }
            }
        }
        told = true;
        if left == 0 || asked.elapsed() > STOP_TIMEOUT {
            return Ok(());
        }
        tokio::time::sleep(STOP_POLL).await;
    }
}

/// Groups and the run folder, once nothing runs any more.
fn remove_rest(installation: &Installation) -> Vec<String> {
    let left = windlass_runtime::start::remove_cgroups(&installation.cgroup());
    let mut faults: Vec<String> = left.iter().map(ToString::to_string).collect();
    let run_dir = installation.run_dir();
    if let Err(err) = run_folder::remove(&run_dir) {
        faults.push(format!("removing {}: {err}", run_dir.display()));
    }
    faults
}

fn tell(faults: &[String]) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    bail!("some of it is still there:\n- {}", faults.join("\n- "));
}

/// The network once nobody else holds it: the agent's workers end after the agent, each at its
/// next pause.
async fn sole(mut network: Arc<Network>) -> Option<Network> {
    let asked = Instant::now();
    loop {
        network = match Arc::try_unwrap(network) {
            Ok(network) => return Some(network),
            Err(_) if asked.elapsed() > WORKERS_TIMEOUT => return None,
            Err(network) => network,
        };
        tokio::time::sleep(WORKERS_POLL).await;
    }
}
