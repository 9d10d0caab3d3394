//! Turns a manifest with its configuration and layers into an image of the store.
//!
//! A layer is unpacked once for the layers below it (its chain), however many images have it and
//! however many arrive at once: one caller unpacks, the others wait.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{At, Error, Result};
use crate::files::told;
use crate::manifest::Manifest;
use crate::platform::Machine;
use crate::reference::Reference;
use crate::state::{Chain, ImageRecord};
use crate::store::{Inner, Origin};
use crate::unpack::{Budget, unpack};
use crate::watch;

/// How far the work on an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Compressed bytes that arrived so far, and how many there will be when that is known.
    Received {
        /// So far.
        bytes: u64,
        /// In the end.
        total: Option<u64>,
    },
    /// Layers that are in place, of how many.
    Unpacked {
        /// In place.
        layers: usize,
        /// Of how many.
        of: usize,
    },
}

/// Told of progress, from any thread.
pub type ProgressFn<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// A manifest whose parts were checked against each other.
pub(crate) struct Checked {
    pub(crate) digest: Digest,
    pub(crate) json: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) config_json: Vec<u8>,
    config: ImageConfig,
    diff_ids: Vec<Digest>,
}

impl Checked {
    pub(crate) fn new(
        image: &str,
        json: Vec<u8>,
        manifest: Manifest,
        config_json: Vec<u8>,
    ) -> Result<Self> {
        let digest = Digest::of(&config_json);
        if digest != manifest.config.digest {
            return Err(Error::Mismatch {
                what: "the configuration".to_string(),
                expected: manifest.config.digest.to_string(),
                actual: digest.to_string(),
            });
        }
        let (config, diff_ids) = ImageConfig::parse(&config_json)?;
        let own = Machine::own().architecture;
        if config.architecture != own {
            return Err(Error::Platform {
                image: image.to_string(),
                wanted: own.to_string(),
                found: format!("linux/{}", config.architecture.escape_default()),
            });
        }
        if diff_ids.len() != manifest.layers.len() {
            let (layers, ids) = (manifest.layers.len(), diff_ids.len());
            let reason = format!("{layers} layers, but {ids} diff ids in the configuration");
            return Err(Error::document("manifest", reason));
        }
        Ok(Self {
            digest: Digest::of(&json),
            json,
            manifest,
            config_json,
            config,
            diff_ids,
        })
    }

    /// The id of each layer together with those below it, the lowest first.
    pub(crate) fn chains(&self) -> Vec<Digest> {
        let mut chains: Vec<Digest> = Vec::with_capacity(self.diff_ids.len());
        for diff_id in &self.diff_ids {
            chains.push(match chains.last() {
                None => *diff_id,
                Some(below) => {
                    let mut hasher = Sha256::new();
                    hasher.update(format!("{below} {diff_id}"));
                    Digest::from_hasher(hasher)
                }
            });
        }
        chains
    }
}

/// Keeps chains, blobs and an image from the collector while they are not referred to yet.
pub(crate) struct Busy {
    inner: Arc<Inner>,
    digests: Vec<Digest>,
}

impl Busy {
    pub(crate) fn new(inner: &Arc<Inner>, digests: Vec<Digest>) -> Self {
        // Not while files are being removed, which may be just these.
        let changes = inner.changes();
        let mut state = inner.state();
        for digest in &digests {
            *state.busy.entry(*digest).or_default() += 1;
        }
        drop((state, changes));
        Self {
            inner: inner.clone(),
            digests,
        }
    }

    /// All that an image consists of.
    pub(crate) fn of(inner: &Arc<Inner>, image: &Checked) -> Self {
        let mut digests = image.chains();
        digests.extend(image.manifest.layers.iter().map(|layer| layer.digest));
        digests.extend([image.digest, image.manifest.config.digest]);
        Self::new(inner, digests)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        for digest in &self.digests {
            if let Some(count) = state.busy.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    state.busy.remove(digest);
                }
            }
        }
    }
}

/// Where an image's compressed layers are, and whether they stay.
pub(crate) struct Source<'a> {
    pub(crate) open: &'a dyn Fn(usize) -> Result<File>,
    pub(crate) keeps_layers: bool,
    pub(crate) from_registry: bool,
}

impl Inner {
    /// Unpacks what is missing, then makes the image known under the names. The caller holds a
    /// [`Busy`] of it.
    pub(crate) fn install(
        &self,
        image: Checked,
        source: &Source<'_>,
        names: &[Reference],
        index: Option<Digest>,
        progress: ProgressFn<'_>,
    ) -> Result<()> {
        let chains = image.chains();
        let mut budget = Budget::of(&self.limits);
        let mut lowers: Vec<PathBuf> = Vec::new();
        for (at, chain) in chains.iter().enumerate() {
            let number = self.ensure_layer(*chain, &image, at, source, &lowers, &mut budget)?;
            lowers.insert(0, self.files.layer(number));
            progress(Progress::Unpacked {
                layers: at + 1,
                of: chains.len(),
            });
        }
        self.files.write_blob(&image.json)?;
        self.files.write_blob(&image.config_json)?;
        let blobs = match source.keeps_layers {
            true => image
                .manifest
                .layers
                .iter()
                .map(|layer| layer.digest)
                .collect(),
            false => Default::default(),
        };
        let record = ImageRecord {
            manifest: image.digest,
            config: image.manifest.config.digest,
            chains,
            blobs,
            repositories: Default::default(),
            indexes: Default::default(),
        };
        let origin = Origin {
            index,
            from_registry: source.from_registry,
        };
        self.publish(record, image.config, names, origin)
    }

    fn ensure_layer(
        &self,
        chain: Digest,
        image: &Checked,
        at: usize,
        source: &Source<'_>,
        lowers: &[PathBuf],
        budget: &mut Budget,
    ) -> Result<u64> {
        let mut state = self.state();
        let number = loop {
            if let Some(known) = state.chains.get(&chain) {
                budget.bytes = budget.bytes.saturating_sub(known.bytes);
                budget.entries = budget.entries.saturating_sub(known.entries);
                return Ok(known.folder);
            }
            if state.unpacking.insert(chain) {
                let number = state.next_layer;
                state.next_layer += 1;
                break number;
            }
            state = self
                .unpacked
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let claim = Claim { inner: self, chain };
        let done = self.unpack_layer(number, image, at, source, lowers, budget);
        match &done {
            Ok((bytes, entries)) => {
                let (bytes, entries) = (*bytes, *entries);
                let unpacked = Chain {
                    chain,
                    folder: number,
                    bytes,
                    entries,
                    recorded: false,
                };
                self.state().chains.insert(chain, unpacked);
            }
            // Why the layer cannot be unpacked says more.
            Err(_) => told(self.files.remove_folder("layers", &number.to_string())),
        }
        drop(claim);
        done.map(|_| number)
    }

    fn unpack_layer(
        &self,
        number: u64,
        image: &Checked,
        at: usize,
        source: &Source<'_>,
        lowers: &[PathBuf],
        budget: &mut Budget,
    ) -> Result<(u64, u64)> {
        let folder = self.files.layer(number);
        std::fs::create_dir(&folder).at("create", &folder)?;
        let blob = (source.open)(at)?;
        let name = image.manifest.layers[at].digest.to_string();
        let unpacked = unpack(&name, blob, &folder, lowers, &self.limits, budget, &|| {
            self.look()
        })?;
        let expected = image.diff_ids[at];
        if unpacked.plain.digest != expected {
            return Err(Error::Mismatch {
                what: format!("layer {name}, uncompressed,"),
                expected: expected.to_string(),
                actual: unpacked.plain.digest.to_string(),
            });
        }
        for notice in &unpacked.notices {
            tracing::info!(layer = name, "{notice}");
        }
        Ok((unpacked.plain.bytes, unpacked.entries))
    }

    /// Whether work that fills the disk may go on: somebody waits for it, and there is room.
    pub(crate) fn look(&self) -> Result<()> {
        watch::go_on()?;
        self.files.look_for_room(self.limits.disk_reserve_bytes)
    }

    /// Opens a stored blob.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.files.blob(digest);
        let missing = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => Error::archive(format!("layer {digest} is missing")),
            _ => Error::read(format!("layer {digest}"), e),
        };
        File::open(path).map_err(missing)
    }
}

/// The right to unpack a chain; given back also when unpacking panics.
struct Claim<'a> {
    inner: &'a Inner,
    chain: Digest,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.inner.state().unpacking.remove(&self.chain);
        self.inner.unpacked.notify_all();
    }
}
