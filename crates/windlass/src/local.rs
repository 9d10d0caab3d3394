//! What the front door needs of this machine: images and logs.

use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use windlass_agent::Logs;
use windlass_agent::logs::Reader;
use windlass_api::local::{
    Answered, ImageName, ImageSummary, Local, LocalError, LogLine, LogQuery,
};
use windlass_cluster::Answer;

use windlass_image::{BadReference, Listed, LoadOptions, Mirrors, PullOptions, Reference, Store};
use windlass_model::command::{Command, Request};
use windlass_model::id::{Name, TaskId};
use windlass_model::status::TaskStatus;
use windlass_server::Handle;

/// Log lines on their way to one reader.
const LINES_MAX: usize = 1_024;
/// How often a followed log is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct LocalMachine {
    pub(crate) images: Store,
    pub(crate) mirrors: Mirrors,
    pub(crate) logs: Logs,
    pub(crate) leader: Handle,
    pub(crate) upload_dir: PathBuf,
}

fn refused(err: impl std::error::Error) -> LocalError {
    LocalError::Refused(chain(&err))
}

/// An error and its causes, in one line.
fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn reference(text: &str) -> Result<Reference, LocalError> {
    text.parse().map_err(|err: BadReference| refused(err))
}

/// Runs what blocks on a thread for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, windlass_image::Error> + Send + 'static,
) -> Result<T, LocalError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(refused),
        Err(err) => Err(LocalError::Failed(format!("the work ended early: {err}"))),
    }
}

impl Local for LocalMachine {
    fn list_images(&self) -> Answered<'_, Vec<ImageSummary>> {
        let store = self.images.clone();
        Box::pin(async move {
            let listed = store.clone();
            let listed = blocking(move || Ok(listed.list())).await?;
            let layers = |image: &Listed| {
                let named = image
                    .reference
                    .as_ref()
                    .and_then(|name| store.resolve(name));
                named.map_or(0, |image| image.layers.len())
            };
            Ok(listed
                .into_iter()
                .map(|image| ImageSummary {
                    layers: layers(&image),
                    name: image
                        .reference
                        .map_or_else(String::new, |name| name.familiar()),
                    digest: image.manifest_digest.to_string(),
                    size_bytes: image.size_bytes,
                    pinned_by: image.holders,
                })
                .collect())
        })
    }

    fn load_image(&self, archive: PathBuf) -> Answered<'_, Vec<ImageName>> {
        let store = self.images.clone();
        Box::pin(async move {
            // The person who loads an archive by hand means its names to lead to it.
            let options = LoadOptions {
                replace: true,
                name: None,
            };
            let loaded =
                blocking(move || store.load_archive_file(&archive, &options, &|_| {})).await?;
            Ok(loaded
                .into_iter()
                .map(|image| ImageName {
                    name: image.reference.familiar(),
                    digest: image.digest.to_string(),
                })
                .collect())
        })
    }

    fn pull_image(&self, image: String) -> Answered<'_, ImageName> {
        Box::pin(async move {
            let reference = reference(&image)?;
            let options = PullOptions {
                mirrors: self.mirrors.clone(),
                ..PullOptions::default()
            };
            let pulled = self
                .images
                .pull(&reference, options)
                .await
                .map_err(refused)?;
            Ok(ImageName {
                name: pulled.reference.familiar(),
                digest: pulled.manifest_digest.to_string(),
            })
        })
    }

    fn remove_image(&self, image: String) -> Answered<'_, ()> {
        let store = self.images.clone();
        Box::pin(async move {
            let reference = reference(&image)?;
            blocking(move || store.remove(&reference)).await
        })
    }

    fn import_rootfs(&self, name: String, directory: PathBuf) -> Answered<'_, ImageName> {
        let store = self.images.clone();
        Box::pin(async move {
            let reference = reference(&name)?;
            let options = LoadOptions {
                replace: true,
                name: None,
            };
            let import = move || store.import_rootfs(&reference, &directory, &options, &|_| {});
            let image = blocking(import).await?;
            Ok(ImageName {
                name: image.reference.familiar(),
                digest: image.digest.to_string(),
            })
        })
    }

    fn read_logs(&self, query: LogQuery) -> Answered<'_, mpsc::Receiver<LogLine>> {
        Box::pin(async move {
            let containers = self.containers(&query).await?;
            let (sender, receiver) = mpsc::channel(LINES_MAX);
            let reading = Reading {
                logs: self.logs.clone(),
                leader: self.leader.clone(),
                task: query.task,
                follow: query.follow,
                sender,
            };
            tokio::spawn(reading.run(containers, query.tail));
            Ok(receiver)
        })
    }

    fn upload_dir(&self) -> &Path {
        &self.upload_dir
    }
}

impl LocalMachine {
    /// The task's containers, or those of them that were asked for.
    async fn containers(&self, query: &LogQuery) -> Result<Vec<Name>, LocalError> {
        let not_found = |what: String| LocalError::NotFound(what);
        let known = match status(&self.leader, query.task).await {
            Some(view) => view
                .state
                .containers
                .iter()
                .map(|c| c.name.clone())
                .collect(),
            // Forgotten by the control plane; its logs may still be here.
            None => logged(&self.logs, query.task),
        };
        if known.is_empty() {
            return Err(not_found(format!(
                "task {} is not known, and has no logs",
                query.task
            )));
        }
        if query.containers.is_empty() {
            return Ok(known);
        }
        let wanted = |text: &String| {
            known
                .iter()
                .find(|name| name.as_str() == text)
                .cloned()
                .ok_or_else(|| {
                    let names: Vec<&str> = known.iter().map(Name::as_str).collect();
                    not_found(format!(
                        "task {} has no container {text}: it has {}",
                        query.task,
                        names.join(", ")
                    ))
                })
        };
        query.containers.iter().map(wanted).collect()
    }
}

fn logged(logs: &Logs, task: TaskId) -> Vec<Name> {
    let Ok(entries) = std::fs::read_dir(logs.folder(task)) else {
        return Vec::new();
    };
    let names = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| Name::new(&name).ok()).collect()
}

async fn status(leader: &Handle, task: TaskId) -> Option<windlass_cluster::TaskView> {
    let command = Command::FindTask(task.to_string());
    let request = Request {
        caller: String::from("windlass"),
        command,
    };
    match leader.ask(request).await {
        Ok(Answer::Task(view)) => Some(view),
        _ => None,
    }
}

/// One reader's way through the logs of a task.
struct Reading {
    logs: Logs,
    leader: Handle,
    task: TaskId,
    follow: bool,
    sender: mpsc::Sender<LogLine>,
}

impl Reading {
    async fn run(self, containers: Vec<Name>, tail: Option<usize>) {
        let mut readers: Vec<(Name, Option<Reader>)> =
            containers.into_iter().map(|name| (name, None)).collect();
        let mut lines = self.read(&mut readers);
        if let Some(tail) = tail {
            lines = last_of_each(lines, tail);
        }
        lines.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
        if self.send(lines).await.is_err() {
            return;
        }
        if !self.follow {
            return;
        }
        loop {
            // Asked before the read: what was written before the end is still read.
            let ended = status(&self.leader, self.task)
                .await
                .is_none_or(|view| view.state.last == TaskStatus::Stopped);
            let lines = self.read(&mut readers);
            let idle = lines.is_empty();
            if self.send(lines).await.is_err() || ended && idle {
                return;
            }
            if idle {
                tokio::time::sleep(FOLLOW_EVERY).await;
            }
        }
    }

    /// Everything that is there and was not read yet.
    fn read(&self, readers: &mut [(Name, Option<Reader>)]) -> Vec<LogLine> {
        let mut lines = Vec::new();
        for (name, reader) in readers {
            if reader.is_none() {
                // Not there yet: the container has not started.
                *reader = self.logs.open(self.task, name).ok();
            }
            let Some(reader) = reader else { continue };
            loop {
                match reader.read() {
                    Ok(records) if records.is_empty() => break,
                    Ok(records) => lines.extend(records.into_iter().map(|record| LogLine {
                        container: name.to_string(),
                        stream: record.stream,
                        timestamp: record.time,
                        text: record.text,
                        partial: record.partial,
                    })),
                    Err(err) => {
                        tracing::warn!(%err, "a log could not be read");
                        break;
                    }
                }
            }
        }
        lines
    }

    async fn send(&self, lines: Vec<LogLine>) -> Result<(), ()> {
        for line in lines {
            self.sender.send(line).await.map_err(|_| ())?;
        }
        if self.sender.is_closed() {
            Err(())
        } else {
            Ok(())
        }
    }
}

fn last_of_each(lines: Vec<LogLine>, tail: usize) -> Vec<LogLine> {
    let mut counts = std::collections::BTreeMap::new();
    let mut kept: Vec<LogLine> = lines
        .into_iter()
        .rev()
        .filter(|line| {
            let count = counts.entry(line.container.clone()).or_insert(0_usize);
            *count += 1;
            *count <= tail
        })
        .collect();
    kept.reverse();
    kept
}
