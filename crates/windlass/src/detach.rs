//! `windlass up --detach`: the same command again, in a session of its own, until it serves.

use crate::data_folder;
use crate::installation::Endpoint;
use crate::up;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to serve: recovery of a large store, and some.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

pub(crate) fn run(data: &Path) -> Result<()> {
    data_folder::prepare(data)?;
    // The log that is begun anew is the one that a running server writes.
    up::refuse_second(data)?;
    let log = data.join("up.log");
    let output = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&log)
        .with_context(|| format!("writing {}", log.display()))?;
    let words = std::env::args_os()
        .skip(1)
        .filter(|word| word != "--detach");
    let mut command = Command::new("/proc/self/exe");
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // A signal to this terminal's group must not reach the server.
        .process_group(0);
    let mut child = command.spawn().context("starting the server")?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("the server ended ({status}):\n{}", said.trim_end());
        }
        if Endpoint::find(data)?.is_some_and(|endpoint| endpoint.pid == child.id()) {
            break;
        }
        if started.elapsed() > READY_TIMEOUT {
            bail!(
                "the server, process {}, does not serve yet; {} says why",
                child.id(),
                log.display()
            );
        }
        std::thread::sleep(POLL);
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    eprint!("{said}");
    eprintln!(
        "it runs on as process {}; its messages go to {}",
        child.id(),
        log.display()
    );
    Ok(())
}
