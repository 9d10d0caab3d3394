//! `windlass down`: stops every task and leaves nothing on the machine but the data folder. Works
//! with a server and without: it becomes the server for as long as it takes. Where that cannot be,
//! because the state is damaged or the address range is taken, what carries the installation's name
//! is ended and removed without the state.

use crate::installation::{Endpoint, Installation};
use crate::plane::{Choices, Plane};
use crate::served::end_server;
use crate::traces::{self, remove_traces};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};
use windlass_model::command::{Command, HurryStop};

/// How long tasks may take: the longest stop timeout there is by default, and some.
const TASKS_TIMEOUT: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(50);

/// What may be said of a stop.
pub(crate) struct Options {
    pub(crate) choices: Choices,
    /// After how many seconds what still runs is killed, where its definition gives more.
    pub(crate) timeout_s: Option<u32>,
    /// The server that the AWS_* variables name, where no folder was named.
    pub(crate) endpoint: Option<String>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let choices = options.choices;
    let data = choices.data.clone();
    let Some(installation) = Installation::find(&data)? else {
        bail!("{} holds no Windlass: nothing to stop", data.display());
    };
    if let Some(other) = options.endpoint.filter(|url| is_elsewhere(&data, url)) {
        bail!(
            "the AWS_* variables of this shell name the server {other}, which is not that of {}: say \
             which one to end, by --data",
            data.display()
        );
    }
    eprintln!("ending the installation of {}", data.display());
    end_server(&data).await?;
    Endpoint::remove(&data);
    match Plane::open(&installation, &choices).await {
        Ok(plane) => orderly(plane, &installation, options.timeout_s).await?,
        // Whoever came meanwhile is not to lose its tasks to this.
        Err(err) if is_in_use(&err) => {
            return Err(err.context("a server was started meanwhile: run `down` again"));
        }
        Err(err) => {
            eprintln!("windlass: {err:#}");
            eprintln!(
                "ending and removing what carries the name {} instead",
                installation.id
            );
            traces::remove_by_name(&installation).await?;
        }
    }
    eprintln!("windlass is down; {} still holds its data", data.display());
    Ok(())
}

/// Whether a server that is named is another than the folder's. One that does not run is not named.
fn is_elsewhere(data: &Path, url: &str) -> bool {
    let plain = |url: &str| {
        let url = url.trim_end_matches('/');
        url.replacen("//localhost:", "//127.0.0.1:", 1)
    };
    let own = Endpoint::find(data).ok().flatten();
    own.is_some_and(|own| plain(&own.url) != plain(url))
}

fn is_in_use(err: &anyhow::Error) -> bool {
    err.chain().any(|cause| {
        let store = cause.downcast_ref::<windlass_store::Error>();
        let network = cause.downcast_ref::<windlass_network::Error>();
        matches!(store, Some(windlass_store::Error::InUse { .. }))
            || matches!(network, Some(windlass_network::Error::Locked { .. }))
    })
}

/// Stops the tasks as their definitions say, for as long as that may take, then removes what is left.
async fn orderly(plane: Plane, installation: &Installation, timeout_s: Option<u32>) -> Result<()> {
    if let Err(err) = stop_tasks(&plane, timeout_s).await {
        eprintln!("windlass: {err:#}; tasks that run here are killed");
    }
    remove_traces(plane, installation).await
}

async fn stop_tasks(plane: &Plane, timeout_s: Option<u32>) -> Result<()> {
    plane.connect().await?;
    plane.ask(Command::StopEverything).await?;
    if let Some(within_s) = timeout_s {
        let all = HurryStop {
            task: None,
            within_s,
        };
        plane.ask(Command::HurryStop(all)).await?;
    }
    let started = Instant::now();
    let mut told = usize::MAX;
    loop {
        let (left, elsewhere) = plane.running().await?;
        if left == 0 {
            if elsewhere > 0 {
                eprintln!("{elsewhere} tasks are on machines that are not here: they are left");
            }
            return Ok(());
        }
        if left != told {
            eprintln!("stopping {left} tasks");
            told = left;
        }
        if started.elapsed() > TASKS_TIMEOUT {
            bail!("{left} tasks did not stop in time");
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_use_is_known_through_what_was_said_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = windlass_store::Embedded::open(folder.path(), Default::default()).unwrap();
        let refused = windlass_store::Embedded::open(folder.path(), Default::default());
        let err = anyhow::Error::from(refused.err().unwrap()).context("opening the store");
        assert!(is_in_use(&err), "{err:#}");
        drop(held);
        assert!(!is_in_use(&anyhow::anyhow!("opening the store")));
    }
}
