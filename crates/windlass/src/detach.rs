//! `windlass up --detach`: the same command again, in a session of its own, until it serves.

use crate::data_folder;
use crate::installation::Endpoint;
use crate::plane::OWN_PROGRAM;
use crate::up;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to serve: recovery of a large store, and some.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A log longer than this is put aside at the next start.
const LOG_BYTES_MAX: u64 = 4 << 20;

pub(crate) fn run(data: &Path) -> Result<()> {
    data_folder::prepare(data)?;
    // The log is the one that a running server writes.
    up::refuse_second(data)?;
    let log = data.join("up.log");
    let (output, begin) = open_log(&log).with_context(|| format!("writing {}", log.display()))?;
    let words = std::env::args_os()
        .skip(1)
        .filter(|word| word != "--detach");
    let mut command = Command::new(OWN_PROGRAM);
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
            let said = said_since(&log, begin);
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
    eprint!("{}", said_since(&log, begin));
    eprintln!(
        "it runs on as process {}; its messages go to {}",
        child.id(),
        log.display()
    );
    Ok(())
}

/// The log, to be gone on with from where it ends now: what an earlier server said last is often
/// what one wants to know. A long one is put aside, in place of the one before.
fn open_log(log: &Path) -> io::Result<(File, u64)> {
    let length = fs::metadata(log).map_or(0, |meta| meta.len());
    if length > LOG_BYTES_MAX {
        fs::rename(log, log.with_extension("log.1"))?;
    }
    let file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(log)?;
    let begin = file.metadata()?.len();
    Ok((file, begin))
}

fn said_since(log: &Path, begin: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_is_gone_on_with_and_a_long_one_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("up.log");
        let (mut file, begin) = open_log(&log).unwrap();
        assert_eq!(begin, 0);
        file.write_all(b"first\n").unwrap();
        let (mut file, begin) = open_log(&log).unwrap();
        file.write_all(b"second\n").unwrap();
        assert_eq!(said_since(&log, begin), "second\n");
        assert_eq!(fs::read_to_string(&log).unwrap(), "first\nsecond\n");
        file.set_len(LOG_BYTES_MAX + 1).unwrap();
        let (_, begin) = open_log(&log).unwrap();
        assert_eq!(begin, 0);
        let aside = fs::metadata(dir.path().join("up.log.1")).unwrap();
        assert_eq!(aside.len(), LOG_BYTES_MAX + 1);
    }
}
