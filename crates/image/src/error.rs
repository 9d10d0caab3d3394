//! What can go wrong with an image, told to the person who asked for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::Digest;
use crate::reference::{BadReference, Reference};

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An image could not be loaded, pulled, unpacked or removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The text is no image name.
    #[error("the image name is not valid")]
    Reference(#[from] BadReference),
    /// The store's files could not be read or written.
    #[error("{doing} {}", path.display())]
    Store {
        /// What was tried, as a verb: `write`.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed. Shared, because everyone who waits for one pull is told.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has this store open.
    #[error("the image store {} is in use by another process; stop that one first", .0.display())]
    StoreInUse(PathBuf),
    /// The store was written by a later version.
    #[error("the image store {} has format {found}; this version reads format {known}", path.display())]
    StoreFormat {
        /// The store's folder.
        path: PathBuf,
        /// The format found.
        found: String,
        /// The format that this version reads.
        known: &'static str,
    },
    /// The archive is damaged, hostile, or no image archive.
    #[error("cannot load the image archive: {reason}")]
    Archive {
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes could not be read from where they come from.
    #[error("cannot read the image: {what}")]
    Read {
        /// Which part.
        what: String,
        /// Why it failed.
        #[source]
        source: Arc<io::Error>,
    },
    /// A manifest, index or configuration does not follow the specification.
    #[error("the image's {document} is not valid: {reason}")]
    Document {
        /// `manifest`, `index` or `configuration`.
        document: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Bytes do not match the digest or size that was promised for them.
    #[error(
        "{what} does not have the content that its digest promises: expected {expected}, got {actual}"
    )]
    Mismatch {
        /// Which part of the image.
        what: String,
        /// The promise.
        expected: String,
        /// What the bytes say.
        actual: String,
    },
    /// A limit was reached.
    #[error("the image is refused: {what} is over the limit of {limit}")]
    Limit {
        /// What is too much.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The disk has no room for more images.
    #[error(
        "the disk of the image store has {} MiB free, of which {} MiB are kept for what runs; make room: windlass images prune", free >> 20, reserve >> 20
    )]
    DiskFull {
        /// Bytes that are free.
        free: u64,
        /// Bytes that are to stay free.
        reserve: u64,
    },
    /// A layer holds something that is refused or could not be written.
    #[error("cannot unpack layer {layer}: {reason}")]
    Layer {
        /// The layer's digest.
        layer: String,
        /// What is wrong, with the entry's name.
        reason: String,
    },
    /// The image is for other machines.
    #[error("{image} has no image for linux/{wanted}; it has: {found}")]
    Platform {
        /// The image's name.
        image: String,
        /// This machine's architecture.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// Loading would move a tag to another image.
    #[error("{reference} already names {existing}; load with replace to make it name {new}")]
    TagExists {
        /// The name. Boxed, as are no others, to keep results small.
        reference: Box<Reference>,
        /// The image it names now.
        existing: Digest,
        /// The image in the archive.
        new: Digest,
    },
    /// The registry could not be reached or did not answer in time.
    #[error(
        "cannot reach registry {registry} for {image}: {reason}; to use an image without a registry, load it: windlass images load ARCHIVE"
    )]
    Unreachable {
        /// The host that was asked.
        registry: String,
        /// The image's name.
        image: String,
        /// What happened.
        reason: String,
        /// How often its manifest was asked for, where that is what failed.
        manifest_tries: Option<u32>,
    },
    /// The registry answered, and said no or something that cannot be used.
    #[error("registry {registry} did not give {image}: {reason}")]
    Registry {
        /// The host that was asked.
        registry: String,
        /// The image's name.
        image: String,
        /// What it said, with its own code and message.
        reason: String,
        /// How often its manifest was asked for, where that is what failed.
        manifest_tries: Option<u32>,
    },
    /// No image of this name is in the store.
    #[error("there is no image {0} here; load one with: windlass images load ARCHIVE")]
    NotFound(String),
    /// The image is used.
    #[error("image {reference} is in use by {}", holders.join(", "))]
    Pinned {
        /// The name that was to be removed.
        reference: String,
        /// What holds it.
        holders: Vec<String>,
    },
    /// A setting of a registry that cannot be used.
    #[error("registry {host}: {reason}")]
    Host {
        /// The registry's host, as it was given.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// Digits that could mean more than one image.
    #[error("{text} could be {count} images; give more digits of the digest")]
    Ambiguous {
        /// What was given.
        text: String,
        /// How many images it fits.
        count: usize,
    },
    /// An image by digest that people gave several names.
    #[error("image {image} has several names: {}; remove each that is to go", names.join(", "))]
    SeveralNames {
        /// What was given.
        image: String,
        /// All its names.
        names: Vec<String>,
    },
    /// Before what runs has pinned its images.
    #[error("what runs has not been found again yet since the start; try again in a moment")]
    NotSettled,
    /// A mirror setting that is not `HOST=HOST`.
    #[error("registry mirror {0:?} is not HOST=HOST; for example docker.io=mirror.example:5000")]
    Mirror(String),
    /// Whoever asked for the work does not want it any more, or the disk has no room for it.
    #[error("{0}")]
    Stopped(String),
    /// The folder that is to become an image.
    #[error("{0}")]
    Folder(String),
    /// A background thread died.
    #[error("the work on the image was broken off: {0}")]
    BrokenOff(String),
}

impl Error {
    /// Whether this machine could reach no registry, as opposed to one that said no.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// The message with every cause behind it, in one line: what ECS shows after
    /// `CannotPullContainerError: `.
    pub fn detail(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// As the ECS agent says it after `CannotPullContainerError: `.
    pub fn agent_text(&self) -> String {
        let retried = |tries: u32, image: &str| {
            let again = tries.saturating_sub(1);
            format!(
                "pull image manifest has been retried {again} time(s): failed to resolve ref {image}"
            )
        };
        match self {
            Self::Registry {
                registry,
                image,
                reason,
                manifest_tries: Some(tries),
            } => format!("{}: registry {registry}: {reason}", retried(*tries, image)),
            Self::Unreachable {
                image,
                manifest_tries: Some(tries),
                ..
            } => format!("{}: {self}", retried(*tries, image)),
            _ => self.detail(),
        }
    }

    pub(crate) fn of_manifest(mut self, tries: u32) -> Self {
        if let Self::Registry { manifest_tries, .. } | Self::Unreachable { manifest_tries, .. } =
            &mut self
        {
            *manifest_tries = Some(tries);
        }
        self
    }

    pub(crate) fn read(what: impl Into<String>, source: io::Error) -> Self {
        // A limit that a reader below met says more than that reading failed.
        match source.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Read {
                what: what.into(),
                source: Arc::new(source),
            },
        }
    }

    pub(crate) fn archive(reason: impl Into<String>) -> Self {
        Self::Archive {
            reason: reason.into(),
        }
    }

    pub(crate) fn document(document: &'static str, reason: impl Into<String>) -> Self {
        Self::Document {
            document,
            reason: reason.into(),
        }
    }
}

/// Puts the failed action and the file before an error of the file system.
pub(crate) trait At<T> {
    fn at(self, doing: &'static str, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, doing: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|e| Error::Store {
            doing,
            path: path.into(),
            source: Arc::new(e.into()),
        })
    }
}
