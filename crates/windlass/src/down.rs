//! `windlass down`: stops every task and leaves nothing on the machine but the data folder. Works
//! with a server and without: it becomes the server for as long as it takes.

use crate::installation::{Endpoint, Installation};
use crate::plane::{Choices, Plane, remove_traces};
use crate::preflight;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::{Duration, Instant};
use windlass_model::command::Command;

/// How long a server may take to end.
const SERVER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long tasks may take: the longest stop timeout there is by default, and some.
const TASKS_TIMEOUT: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(50);

pub(crate) async fn run(choices: Choices) -> Result<()> {
    let data = choices.data.clone();
    let Some(installation) = Installation::find(&data)? else {
        bail!("{} holds no Windlass: nothing to stop", data.display());
    };
    preflight::check(&data)?;
    end_server(&data).await?;
    let plane = Plane::open(&installation, &choices).await?;
    plane.join(&[]).await?;
    plane.ask(Command::StopEverything).await?;
    let started = Instant::now();
    let mut told = usize::MAX;
    loop {
        let left = plane.running().await?;
        if left == 0 {
            break;
        }
        if left != told {
            eprintln!("stopping {left} tasks");
            told = left;
        }
        if started.elapsed() > TASKS_TIMEOUT {
            eprintln!("{left} tasks did not stop in time: they are killed");
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    remove_traces(plane, &installation).await?;
    eprintln!("windlass is down; {} still holds its data", data.display());
    Ok(())
}

async fn end_server(data: &Path) -> Result<()> {
    let Some(endpoint) = Endpoint::find(data)? else {
        return Ok(());
    };
    if !endpoint.is_served() {
        Endpoint::remove(data);
        return Ok(());
    }
    let pid = i32::try_from(endpoint.pid).ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{} is no process id", endpoint.pid))?;
    kill_process(pid, Signal::TERM)
        .with_context(|| format!("stopping the server, process {}", endpoint.pid))?;
    let asked = Instant::now();
    while endpoint.is_served() {
        if asked.elapsed() > SERVER_TIMEOUT {
            bail!(
                "the server, process {}, does not end: end it, then try again",
                endpoint.pid
            );
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
