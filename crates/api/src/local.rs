//! What the front door needs of the machine it runs on: images and logs. The executable gives an
//! implementation; the door knows neither the image store nor the log files.

use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use tokio::sync::mpsc;
use windlass_model::id::TaskId;

pub type Answered<'a, T> = Pin<Box<dyn Future<Output = Result<T, LocalError>> + Send + 'a>>;

/// Why the machine did not do it: told to the caller as it is.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("{0}")]
    NotFound(String),
    /// The caller's fault, or something in the way that the caller can clear.
    #[error("{0}")]
    Refused(String),
    /// A registry said no, or nothing: its own code and message.
    #[error("{0}")]
    Registry(String),
    #[error("{0}")]
    Failed(String),
}

pub trait Local: Send + Sync + 'static {
    fn list_images(&self) -> Answered<'_, Vec<ImageSummary>>;
    /// Loads an archive that lies in [`Local::upload_dir`]. A name that is given takes the place of
    /// those in the archive.
    fn load_image(&self, archive: PathBuf, name: Option<String>) -> Answered<'_, LoadedImages>;
    /// Gives an image a further name.
    fn tag_image(&self, image: String, name: String) -> Answered<'_, ImageName>;
    /// Removes images that nothing uses: those without a tag, or all.
    fn prune_images(&self, all: bool) -> Answered<'_, PrunedImages>;
    fn image_usage(&self) -> Answered<'_, ImageUsage>;
    fn pull_image(&self, reference: String) -> Answered<'_, ImageName>;
    /// Keeps a password for a registry, once the registry took it.
    fn login(&self, registry: String, username: String, password: String) -> Answered<'_, ()>;
    fn logout(&self, registry: String) -> Answered<'_, ()>;
    /// Removes an image by name, or by its digest or the first digits of it.
    fn remove_image(&self, image: String) -> Answered<'_, ()>;
    /// Makes an image of a folder of this machine.
    fn import_rootfs(&self, name: String, directory: PathBuf) -> Answered<'_, ImageName>;
    /// The lines of a task's containers, oldest first. An error in between cuts the answer, so that
    /// a part of the lines is not taken for all.
    fn read_logs(&self, query: LogQuery) -> Answered<'_, mpsc::Receiver<io::Result<LogLine>>>;
    /// Numbers for metrics.
    fn figures(&self) -> Answered<'_, MachineFigures>;
    /// A folder for uploads, on the image store's disk.
    fn upload_dir(&self) -> &Path;
}

/// Numbers of the machine's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineFigures {
    pub store_bytes: u64,
    /// Names of images.
    pub images: usize,
    /// Layers that several share are counted for each.
    pub image_bytes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSummary {
    pub name: String,
    pub digest: String,
    /// When it was built, as its builder wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    pub size_bytes: u64,
    pub layers: usize,
    /// What uses it now: a pinned image is not removed.
    pub pinned_by: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageName {
    pub name: String,
    pub digest: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedImages {
    pub images: Vec<ImageName>,
    /// What was in the archive and was not loaded, in words.
    pub left_out: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrunedImages {
    pub removed: Vec<String>,
    pub freed_bytes: u64,
}

/// What the image store holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageUsage {
    pub images: ImageShare,
    /// Unpacked; a layer of several images counts once.
    pub layers: ImageShare,
    /// Compressed layers of images that were loaded.
    pub archives: ImageShare,
    /// That were cut and may go on.
    pub downloads: ImageShare,
    pub free_bytes: u64,
}

/// One kind of what the image store holds, and what of it nothing uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageShare {
    pub count: u64,
    pub used: u64,
    pub bytes: u64,
    pub reclaimable_bytes: u64,
}

#[derive(Clone, Debug)]
pub struct LogQuery {
    pub task: TaskId,
    /// All of the task's containers when empty.
    pub containers: Vec<String>,
    /// Only the last so many lines of each container.
    pub tail: Option<usize>,
    /// Only what was written from this time on, which has the form of a record's.
    pub since: Option<String>,
    /// Goes on with new lines until the task's containers ended.
    pub follow: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    pub container: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// RFC 3339, with nanoseconds.
    pub timestamp: String,
    pub text: String,
    /// Whether the line goes on in the next record.
    pub partial: bool,
}
