//! How a container says that its own process runs: it writes a line to a FIFO that it has as a
//! volume. The same for every network mode and for the peer, without a network in the way. A
//! second FIFO tells containers to end: each reads one line and exits.

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

/// How long a container may take to speak.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where containers find the FIFOs.
pub(crate) const INSIDE: &str = "/speech";
/// What a container runs: one process, which speaks, waits and exits.
pub(crate) const SCRIPT: &str = "echo . >/speech/say; read line </speech/end";
/// The same without the wait.
pub(crate) const SCRIPT_SHORT: &str = "echo . >/speech/say";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) at: Instant,
    pub(crate) wall: SystemTime,
}

pub(crate) struct Speech {
    pub(crate) folder: PathBuf,
    end: File,
    said: Receiver<Said>,
}

impl Speech {
    pub(crate) fn open(folder: &Path) -> Result<Speech> {
        std::fs::create_dir_all(folder)?;
        let fifo = |name: &str| -> Result<File> {
            let path = folder.join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0)
                .with_context(|| format!("make {}", path.display()))?;
            // Open at both ends, so that nobody waits for the other.
            Ok(OpenOptions::new().read(true).write(true).open(&path)?)
        };
        let (mut say, end) = (fifo("say")?, fifo("end")?);
        let (sender, said) = channel();
        std::thread::Builder::new()
            .name("speech".into())
            .spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count) = say.read(&mut buffer) {
                    let now = Said {
                        at: Instant::now(),
                        wall: SystemTime::now(),
                    };
                    let lines = buffer[..count].iter().filter(|byte| **byte == b'\n');
                    for _ in lines {
                        if sender.send(now).is_err() {
                            return;
                        }
                    }
                }
            })?;
        Ok(Speech {
            folder: folder.to_owned(),
            end,
            said,
        })
    }

    /// When the last of `count` containers spoke.
    pub(crate) async fn wait(&self, count: usize) -> Result<Said> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        for _ in 0..count {
            loop {
                if let Ok(said) = self.said.try_recv() {
                    last = Some(said);
                    break;
                }
                if Instant::now() > deadline {
                    bail!("a container did not speak for {PATIENCE:?}");
                }
                // The stamp is the reader's: how often this looks changes no figure.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        last.context("nobody was waited for")
    }

    /// Lets `count` containers exit.
    pub(crate) fn end(&mut self, count: usize) -> Result<()> {
        Ok(self.end.write_all(&vec![b'\n'; count])?)
    }
}
