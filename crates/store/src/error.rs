//! Every way a store can fail. Messages say what, why and what to do.

use std::path::{Path, PathBuf};

use crate::batch::Refusal;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The batch breaks a rule. Nothing was written; the store goes on.
    #[error("batch of turn {turn} is refused: {refusal}")]
    Batch {
        /// The batch's turn.
        turn: u64,
        /// The rule.
        refusal: Refusal,
    },
    /// Too little room to write safely. Nothing was written; the store goes on.
    #[error(
        "disk {disk} has {free_bytes} bytes free and the store needs {need_bytes} to write safely; nothing was written, free some space"
    )]
    Full {
        /// Mount point and device.
        disk: String,
        /// Free bytes seen.
        free_bytes: u64,
        /// Free bytes that the commit needs.
        need_bytes: u64,
    },
    /// A write failed half way.
    #[error(
        "outcome of turn {turn} is unknown: writing to {disk} failed with {free_bytes} bytes free; end the process and start it again from the store"
    )]
    Unknown {
        /// The turn that may or may not be durable.
        turn: u64,
        /// Mount point and device.
        disk: String,
        /// Free bytes after the failure, which tells a full disk from a broken one.
        free_bytes: u64,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A write failed before, so the store takes no more.
    #[error(
        "store {dir} takes no more writes since an earlier one failed; end the process and start it again from the store"
    )]
    Poisoned {
        /// The store's folder.
        dir: String,
    },
    /// Another process serves this store.
    #[error("store {dir} is in use by {process}; stop that process, or use another folder")]
    InUse {
        /// The store's folder.
        dir: PathBuf,
        /// The other process's id, where it left one.
        pid: Option<u32>,
        /// The process as people know it: name and id.
        process: String,
    },
    /// Something in the store changed or is gone.
    #[error("store {dir} is damaged: {what}; what was acknowledged up to turn {acknowledged} may be lost; {copy}; {mend}", copy = describe_copy(copy.as_deref()))]
    Damaged {
        /// The store's folder.
        dir: String,
        /// What is damaged.
        what: String,
        /// The last turn that was acknowledged, as far as the watermark tells.
        acknowledged: u64,
        /// The journals as they were before this start touched them.
        copy: Option<PathBuf>,
        /// How to go on.
        mend: String,
    },
    /// The store lost turns that were acknowledged.
    #[error("store {dir} ends at turn {store_turn}, but turn {acknowledged} was acknowledged: the turns between are lost; {copy}; {mend}", copy = describe_copy(copy.as_deref()))]
    Behind {
        /// The store's folder.
        dir: String,
        /// The last turn found.
        store_turn: u64,
        /// The last turn acknowledged.
        acknowledged: u64,
        /// The journals as they were before this start touched them.
        copy: Option<PathBuf>,
        /// How to go on.
        mend: String,
    },
    /// The store was written in a format that this release does not read.
    #[error(
        "{what} has format {found}, and this release reads format {known}; use the release that wrote it"
    )]
    Format {
        /// The store's folder, or the backup.
        what: String,
        /// The format found.
        found: u32,
        /// The format of this release.
        known: u32,
    },
    /// A folder in which something is already.
    #[error("folder {dir} is not empty; restore only into a new or an empty folder")]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// A backup that cannot be trusted.
    #[error("backup is refused: {what}; nothing was restored")]
    Backup {
        /// What is wrong with it.
        what: String,
    },
    /// The kernel refused something.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The storage engine refused something, and no commit was under way.
    #[error("{what} in store {dir}")]
    Engine {
        /// What was tried.
        what: &'static str,
        /// The store's folder.
        dir: String,
        /// Why it failed.
        #[source]
        source: Box<fjall::Error>,
    },
}

impl Error {
    /// Whether a commit that failed so may nevertheless be durable. The process must then end and
    /// open the store again before it answers anyone.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        !matches!(self, Self::Batch { .. } | Self::Full { .. })
    }

    /// Whether the kernel found no room for what was tried.
    pub(crate) fn is_storage_full(&self) -> bool {
        let io = match self {
            Self::Io { source, .. } => source,
            Self::Engine { source, .. } => match source.as_ref() {
                fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) => io,
                _ => return false,
            },
            _ => return false,
        };
        io.kind() == std::io::ErrorKind::StorageFull
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// The sentence that shows how to go on, the same wherever a store is refused.
///
/// A store is a folder of its data folder, which is what the command line names.
pub(crate) fn mend(dir: &Path) -> String {
    let data = dir.parent().unwrap_or(dir).display();
    let dir = dir.display();
    format!("move {dir} aside and run `windlass restore BACKUP --data {data}`")
}

fn describe_copy(copy: Option<&Path>) -> String {
    match copy {
        Some(copy) => format!(
            "the journals as they were found are kept in {}",
            copy.display()
        ),
        None => "no untouched copy of the journals could be kept".to_owned(),
    }
}
