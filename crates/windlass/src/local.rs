//! What the front door needs of this machine: images and logs.

mod reading;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use windlass_agent::Logs;
use windlass_api::local::{
    Answered, ImageName, ImageShare, ImageSummary, ImageUsage, LoadedImages, Local, LocalError,
    LogLine, LogQuery, MachineFigures, PrunedImages,
};
use windlass_cluster::Answer;

use windlass_image::{
    BadReference, Error, Listed, LoadOptions, Loaded, Logins, NewName, PullOptions, Reference,
    Share, Store, registry_host,
};
use windlass_model::command::{Command, Request};
use windlass_model::id::{Name, TaskId};
use windlass_server::{Handle, Refused};

/// How often long work looks whether the disk has room for it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) struct LocalMachine {
    pub(crate) images: Store,
    /// For pulls that somebody asks for.
    pub(crate) pull: PullOptions,
    pub(crate) logins: Logins,
    pub(crate) logs: Logs,
    pub(crate) leader: Handle,
    pub(crate) upload_dir: PathBuf,
    /// Of the control plane's state.
    pub(crate) store_dir: PathBuf,
    /// Turns true when the server ends.
    pub(crate) stop: watch::Receiver<bool>,
}

fn refused(err: impl std::error::Error) -> LocalError {
    LocalError::Refused(chain(&err))
}

/// What a registry says is not the caller's to mend.
fn of_registry(err: Error) -> LocalError {
    match err {
        Error::Registry { .. } | Error::Unreachable { .. } => LocalError::Registry(err.detail()),
        err => refused(err),
    }
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
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, LocalError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Err(err @ Error::NotFound(_))) => Err(LocalError::NotFound(chain(&err))),
        Ok(Err(err @ Error::Stopped(_))) => Err(LocalError::Failed(chain(&err))),
        Ok(done) => done.map_err(refused),
        Err(err) => Err(LocalError::Failed(format!("the work ended early: {err}"))),
    }
}

/// Long work: it ends soon after who asked for it has gone, the server is to end, or the disk is
/// nearly full.
async fn long<T: Send + 'static>(
    machine: &LocalMachine,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, LocalError> {
    let wanted = Wanted::default();
    let (is_wanted, stop) = (wanted.0.clone(), machine.stop.clone());
    let (leader, looked) = (machine.leader.clone(), Cell::new(Instant::now()));
    let why_end = move || {
        if !is_wanted.load(Ordering::Relaxed) {
            return Some(String::from("who asked for it has gone"));
        }
        if *stop.borrow() {
            return Some(String::from("the server ends"));
        }
        if looked.get().elapsed() < LOOK_EVERY {
            return None;
        }
        looked.set(Instant::now());
        let room = tokio::runtime::Handle::current().block_on(leader.room());
        // Only want of room is a reason: a busy leader is none.
        room.err()
            .filter(|refused| matches!(refused, Refused::DiskLow { .. }))
            .map(|low| low.to_string())
    };
    let done = blocking(move || windlass_image::watched(why_end, work)).await;
    drop(wanted);
    done
}

/// Whether somebody waits for long work: false as soon as this is dropped.
struct Wanted(Arc<AtomicBool>);

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The person who loads an image by hand means its names to lead to it.
fn by_hand(name: Option<NewName>) -> LoadOptions {
    let replace = true;
    LoadOptions { replace, name }
}

fn new_name(text: &str) -> Result<NewName, LocalError> {
    text.parse().map_err(|err: Error| refused(err))
}

fn image_name(image: Loaded) -> ImageName {
    ImageName {
        name: image.reference.familiar(),
        digest: image.digest.to_string(),
    }
}

fn summary(image: Listed) -> ImageSummary {
    let name = image.reference.map(|name| name.familiar());
    ImageSummary {
        name: name.unwrap_or_default(),
        digest: image.manifest_digest.to_string(),
        created_at: image.created,
        size_bytes: image.size_bytes,
        layers: image.layers,
        pinned_by: image.holders,
    }
}

fn share(share: Share) -> ImageShare {
    ImageShare {
        count: share.count,
        used: share.used,
        bytes: share.bytes,
        reclaimable_bytes: share.reclaimable_bytes,
    }
}

impl Local for LocalMachine {
    fn list_images(&self) -> Answered<'_, Vec<ImageSummary>> {
        let store = self.images.clone();
        Box::pin(async move {
            let listed = blocking(move || Ok(store.list())).await?;
            Ok(listed.into_iter().map(summary).collect())
        })
    }

    fn load_image(&self, archive: PathBuf, name: Option<String>) -> Answered<'_, LoadedImages> {
        let store = self.images.clone();
        Box::pin(async move {
            let options = by_hand(name.as_deref().map(new_name).transpose()?);
            let load = move || store.load_archive_file(&archive, &options, &|_| {});
            let loaded = long(self, load).await?;
            Ok(LoadedImages {
                images: loaded.images.into_iter().map(image_name).collect(),
                left_out: loaded.left_out,
            })
        })
    }

    fn tag_image(&self, image: String, name: String) -> Answered<'_, ImageName> {
        let store = self.images.clone();
        Box::pin(async move {
            let name = new_name(&name)?;
            let tagged = blocking(move || store.tag(&image, &name)).await?;
            Ok(image_name(tagged))
        })
    }

    fn prune_images(&self, all: bool) -> Answered<'_, PrunedImages> {
        let store = self.images.clone();
        Box::pin(async move {
            let pruned = blocking(move || store.prune(all)).await?;
            Ok(PrunedImages {
                removed: pruned.removed,
                freed_bytes: pruned.freed_bytes,
            })
        })
    }

    fn image_usage(&self) -> Answered<'_, ImageUsage> {
        let store = self.images.clone();
        Box::pin(async move {
            let usage = blocking(move || store.usage()).await?;
            Ok(ImageUsage {
                images: share(usage.images),
                layers: share(usage.layers),
                archives: share(usage.archives),
                downloads: share(usage.downloads),
                free_bytes: usage.free_bytes,
            })
        })
    }

    fn pull_image(&self, image: String) -> Answered<'_, ImageName> {
        Box::pin(async move {
            let reference = reference(&image)?;
            let pulled = self.images.pull(&reference, self.pull.clone()).await;
            let pulled = pulled.map_err(of_registry)?;
            Ok(ImageName {
                name: pulled.reference.familiar(),
                digest: pulled.manifest_digest.to_string(),
            })
        })
    }

    fn login(&self, registry: String, username: String, password: String) -> Answered<'_, ()> {
        Box::pin(async move {
            let host = registry_host(&registry).map_err(refused)?;
            if username.is_empty() || username.contains(':') {
                let why = "a user is named, and has no colon in its name";
                return Err(LocalError::Refused(why.to_owned()));
            }
            let given = windlass_image::Credentials { username, password };
            windlass_image::check_login(&host, given.clone(), &self.pull.hosts)
                .await
                .map_err(of_registry)?;
            let logins = self.logins.clone();
            blocking(move || logins.keep(&host, &given)).await
        })
    }

    fn logout(&self, registry: String) -> Answered<'_, ()> {
        Box::pin(async move {
            let host = registry_host(&registry).map_err(refused)?;
            let logins = self.logins.clone();
            let (forgotten, shown) = (host.clone(), host);
            match blocking(move || logins.forget(&forgotten)).await? {
                true => Ok(()),
                false => Err(LocalError::NotFound(format!(
                    "there is no login for {shown}"
                ))),
            }
        })
    }

    fn remove_image(&self, image: String) -> Answered<'_, ()> {
        let store = self.images.clone();
        Box::pin(async move { blocking(move || store.remove(&image)).await })
    }

    fn import_rootfs(&self, name: String, directory: PathBuf) -> Answered<'_, ImageName> {
        let store = self.images.clone();
        Box::pin(async move {
            let reference = reference(&name)?;
            let options = by_hand(None);
            let import = move || store.import_rootfs(&reference, &directory, &options, &|_| {});
            Ok(image_name(long(self, import).await?))
        })
    }

    fn read_logs(&self, query: LogQuery) -> Answered<'_, mpsc::Receiver<std::io::Result<LogLine>>> {
        Box::pin(async move {
            let containers = self.containers(&query).await?;
            Ok(reading::start(
                &self.logs,
                self.leader.clone(),
                self.stop.clone(),
                &query,
                containers,
            ))
        })
    }

    fn figures(&self) -> Answered<'_, MachineFigures> {
        let (store, store_dir) = (self.images.clone(), self.store_dir.clone());
        Box::pin(async move {
            blocking(move || {
                let images = store.list();
                Ok(MachineFigures {
                    store_bytes: bytes_below(&store_dir),
                    images: images.len(),
                    image_bytes: images.iter().map(|image| image.size_bytes).sum(),
                })
            })
            .await
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

/// Of all files in a folder. They come and go while it is looked at.
fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.filter_map(|entry| {
        let meta = entry.metadata().ok()?;
        Some(match meta.is_dir() {
            true => bytes_below(&entry.path()),
            false => meta.len(),
        })
    });
    bytes.sum()
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
