//! Who serves a data folder: its store's lock tells, which ends with its process and cannot mean
//! another one.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};
use windlass_store::embedded::{Holder, holder};

/// How long a server may take to end.
const SERVER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a lock is waited for of which nobody says whose it is.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);

/// The process that serves the folder, if there is one. A server that was killed while it started a
/// process leaves its lock to that process until it executes its program: that one serves nothing.
pub(crate) fn server_of(data: &Path) -> Result<Option<Holder>> {
    let found = holder(&data.join("store"));
    let found = found.with_context(|| format!("looking who serves {}", data.display()))?;
    Ok(found.filter(|server| server.pid.is_none_or(is_alive)))
}

fn is_alive(pid: u32) -> bool {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = number.and_then(|number| pidfd_open(number, PidfdFlags::empty()).ok());
    process.is_some_and(|process| !has_ended(&process))
}

/// Ends the server of the folder, as Ctrl-C does it, and waits until it has ended.
pub(crate) async fn end_server(data: &Path) -> Result<()> {
    let asked = Instant::now();
    let mut told: Option<(u32, OwnedFd)> = None;
    while let Some(server) = server_of(data)? {
        let own = std::process::id();
        if let Some(pid) = server.pid.filter(|pid| *pid != own)
            && told.as_ref().is_none_or(|(told, _)| *told != pid)
            && let Some(process) = end(data, pid)?
        {
            told = Some((pid, process));
        }
        // One that was not found has ended meanwhile.
        let timeout = match told {
            Some(_) => SERVER_TIMEOUT,
            None => LOCK_TIMEOUT,
        };
        if asked.elapsed() > timeout {
            let process = server.pid.map_or(String::from("a process"), |pid| {
                format!("process {pid} ({})", server.name)
            });
            bail!(
                "{process} holds {} and does not end: end it, then try again",
                data.display()
            );
        }
        tokio::time::sleep(POLL).await;
    }
    // It gives up the lock last, but for its own end.
    while let Some((pid, process)) = &told
        && !has_ended(process)
    {
        if asked.elapsed() > SERVER_TIMEOUT {
            bail!("the server, process {pid}, does not end: end it, then try again");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Asks one process to end, if it still holds the folder: a descriptor cannot mean another one.
fn end(data: &Path, pid: u32) -> Result<Option<OwnedFd>> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.with_context(|| format!("{pid} is no process id"))?;
    let Ok(process) = pidfd_open(number, PidfdFlags::empty()) else {
        return Ok(None);
    };
    if server_of(data)?.is_none_or(|server| server.pid != Some(pid)) {
        return Ok(None);
    }
    match pidfd_send_signal(&process, Signal::TERM) {
        Ok(()) => Ok(Some(process)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(err) => Err(err).with_context(|| format!("stopping the server, process {pid}")),
    }
}

fn has_ended(process: &OwnedFd) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_a_dead_server_left_to_its_child_serves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        std::fs::create_dir(&store).unwrap();
        let lock = std::fs::File::create(store.join("lock")).unwrap();
        lock.lock().unwrap();
        let name = |pid: u32| std::fs::write(store.join("lock"), format!("{pid} windlass\n"));
        name(std::process::id()).unwrap();
        let server = server_of(dir.path()).unwrap().unwrap();
        assert_eq!(server.pid, Some(std::process::id()));
        let mut ended = std::process::Command::new("/bin/true").spawn().unwrap();
        ended.wait().unwrap();
        name(ended.id()).unwrap();
        assert_eq!(server_of(dir.path()).unwrap(), None);
    }
}
