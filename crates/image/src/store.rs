//! The images of this machine: what there is, what it is called, who uses it.
//!
//! All questions are answered from memory, which holds what the records on disk say. An image is
//! on disk before it is found. Elsewhere: how images come in (`install`, `archive`, `pull`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::collect::remove_blobs;
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::files::{Files, told};
use crate::limits::Limits;
use crate::name::id_in;
use crate::pull::Flights;
use crate::reference::Reference;
use crate::state::{Chain, ImageRecord, NameRecord, State};

/// A store of images in one folder. Clones share it; one process may have it open.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) files: Files,
    pub(crate) limits: Limits,
    state: Mutex<State>,
    /// Held, before `state`, by whoever changes records or removes files. Their disk work is not
    /// done under `state`, so that questions are answered at once meanwhile.
    changes: Mutex<()>,
    /// Whether what runs has pinned its images, so that what has no pin is not used.
    pub(crate) is_settled: AtomicBool,
    /// Told when a layer was unpacked, or could not be.
    pub(crate) unpacked: Condvar,
    pub(crate) flights: Flights,
}

/// An image that can be started from.
#[derive(Debug, Clone)]
pub struct Image {
    /// The name it was asked by.
    pub reference: Reference,
    /// Of the manifest for this machine's platform.
    pub manifest_digest: Digest,
    /// Of the index that the name led to, when there was one. What registries show as the digest
    /// of a name with several platforms.
    pub index_digest: Option<Digest>,
    /// Whether it was asked for by a tag that a registry gave: the registry may have moved it. Not
    /// so for what was loaded or imported.
    pub from_registry: bool,
    /// What the image wants to run.
    pub config: Arc<ImageConfig>,
    /// Folders of the layers, the topmost first, as overlayfs takes them. Read only: they are
    /// shared by all images that have them.
    pub layers: Vec<PathBuf>,
    /// Uncompressed, all layers.
    pub size_bytes: u64,
}

/// Where a name comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// The index that it leads to first, when there is one.
    pub(crate) index: Option<Digest>,
    pub(crate) from_registry: bool,
}

impl Image {
    /// What registries show as the digest of its name.
    pub fn digest(&self) -> Digest {
        self.index_digest.unwrap_or(self.manifest_digest)
    }
}

/// One line of [`Store::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// `None` for an image whose name was given to another and that is still in use. One that was
    /// asked for by digest has that name.
    pub reference: Option<Reference>,
    /// Of the manifest.
    pub manifest_digest: Digest,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// When it was built, as its builder wrote it.
    pub created: Option<String>,
    pub layers: usize,
    /// Uncompressed, all layers.
    pub size_bytes: u64,
    /// What uses the image, as given to [`Store::pin`].
    pub holders: Vec<String>,
}

/// Keeps an image from being removed for as long as it lives. Not written to disk: whoever runs
/// containers pins their images again after a restart.
pub struct Pin {
    inner: Arc<Inner>,
    manifest: Digest,
    number: u64,
}

impl Store {
    /// Opens the store in a folder, which is made if it is missing. What a crash left half done is
    /// removed.
    ///
    /// # Errors
    /// [`Error::StoreInUse`] when another process has it open, [`Error::Store`] when the folder
    /// cannot be used.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, Limits::default())
    }

    /// [`Store::open`] with own limits on what images may hold.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(root: &Path, limits: Limits) -> Result<Self> {
        let files = Files::open(root)?;
        let mut state = State::read(&files)?;
        remove_leftovers(&files, &state)?;
        state.skip_layers_of(&files)?;
        let (state, unpacked) = (Mutex::new(state), Condvar::new());
        let flights = Flights::default();
        Ok(Self {
            inner: Arc::new(Inner {
                files,
                limits,
                state,
                changes: Mutex::new(()),
                is_settled: AtomicBool::new(false),
                unpacked,
                flights,
            }),
        })
    }

    /// The image of a name, if it is here. Asks nobody. A name by digest is found when the image
    /// came from that repository; `sha256:` and digits are the id of an image, whatever it is called.
    pub fn resolve(&self, reference: &Reference) -> Option<Image> {
        let mut state = self.inner.state();
        let (manifest, index, from_registry) = match reference.digest() {
            Some(digest) => {
                let repository = reference.full_repository();
                let (record, _) = state.images.values().find(|(record, _)| {
                    (record.manifest == digest || record.indexes.contains(&digest))
                        && record.repositories.contains(&repository)
                })?;
                (
                    record.manifest,
                    (record.manifest != digest).then_some(digest),
                    false,
                )
            }
            None => match state.names.get(reference) {
                Some(name) => (name.manifest, name.index, name.from_registry),
                None => (state.of_id(id_in(reference)?)?, None, false),
            },
        };
        // Who asks is about to use it.
        if let Some(since) = state.idle_since.get_mut(&manifest) {
            *since = Instant::now();
        }
        let (record, config) = state.images.get(&manifest)?;
        let chains: Vec<&Chain> = record
            .chains
            .iter()
            .map(|chain| state.chains.get(chain))
            .collect::<Option<_>>()?;
        Some(Image {
            reference: reference.clone(),
            manifest_digest: manifest,
            index_digest: index,
            from_registry,
            config: config.clone(),
            layers: chains
                .iter()
                .rev()
                .map(|c| self.inner.files.layer(c.folder))
                .collect(),
            size_bytes: chains.iter().map(|c| c.bytes).sum(),
        })
    }

    /// All images, by name.
    pub fn list(&self) -> Vec<Listed> {
        let state = self.inner.state();
        let mut unnamed: BTreeSet<Digest> = state.images.keys().copied().collect();
        let mut lines = Vec::new();
        for (reference, name) in &state.names {
            unnamed.remove(&name.manifest);
            lines.extend(state.listed(Some(reference), name.manifest));
        }
        lines.extend(
            unnamed
                .into_iter()
                .filter_map(|digest| state.listed(None, digest)),
        );
        lines
    }

    /// Keeps an image until the guard is dropped. `holder` says who needs it, for people: a task's
    /// ARN, for example.
    ///
    /// # Errors
    /// [`Error::Document`] when there is no image of this manifest digest.
    pub fn pin(&self, manifest: Digest, holder: impl Into<String>) -> Result<Pin> {
        let mut state = self.inner.state();
        if !state.images.contains_key(&manifest) {
            return Err(Error::document(
                "manifest",
                format!("no image {manifest} is stored here"),
            ));
        }
        let number = state.next_pin;
        state.next_pin += 1;
        state
            .pins
            .entry(manifest)
            .or_default()
            .insert(number, holder.into());
        Ok(Pin {
            inner: self.inner.clone(),
            manifest,
            number,
        })
    }
}

impl Inner {
    /// A panic elsewhere leaves the state usable: each change of it is a single step.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to change records and to remove files.
    pub(crate) fn changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an image known under names. Its files are on disk already.
    pub(crate) fn publish(
        &self,
        mut record: ImageRecord,
        config: ImageConfig,
        names: &[Reference],
        origin: Origin,
    ) -> Result<()> {
        let Origin {
            index,
            from_registry,
        } = origin;
        self.files.sync_all()?;
        let _changes = self.changes();
        for digest in &record.chains {
            let unrecorded = self
                .state()
                .chains
                .get(digest)
                .filter(|c| !c.recorded)
                .cloned();
            if let Some(chain) = unrecorded {
                self.files.write_record("chains", digest, &chain)?;
                let recorded = Chain {
                    recorded: true,
                    ..chain
                };
                self.state().chains.insert(*digest, recorded);
            }
        }
        record
            .repositories
            .extend(names.iter().map(Reference::full_repository));
        record.indexes.extend(index);
        let manifest = record.manifest;
        if let Some((old, _)) = self.state().images.get(&manifest) {
            record.repositories.extend(old.repositories.iter().cloned());
            record.indexes.extend(&old.indexes);
            record.blobs.extend(&old.blobs);
        }
        self.files.write_record("images", &manifest, &record)?;
        self.state()
            .images
            .insert(manifest, (record, Arc::new(config)));
        self.state().idle_since.insert(manifest, Instant::now());
        for reference in names {
            let name = NameRecord {
                name: reference.to_string(),
                manifest,
                index,
                from_registry,
            };
            self.write_name(reference, name)?;
        }
        self.collect_after_arrival();
        Ok(())
    }

    /// Makes a name mean what its record says. The caller holds `changes`.
    pub(crate) fn write_name(&self, reference: &Reference, name: NameRecord) -> Result<()> {
        self.files
            .write_record("names", &name_key(reference), &name)?;
        self.state().names.insert(reference.clone(), name);
        Ok(())
    }

    /// The image that a tag means now.
    pub(crate) fn named(&self, reference: &Reference) -> Option<Digest> {
        self.state().names.get(reference).map(|name| name.manifest)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        if let Some(pins) = state.pins.get_mut(&self.manifest) {
            pins.remove(&self.number);
            if pins.is_empty() {
                state.pins.remove(&self.manifest);
                state.idle_since.insert(self.manifest, Instant::now());
            }
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("files", &self.inner.files)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pin")
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

/// Layers and blobs without a record: from a crash in the middle.
fn remove_leftovers(files: &Files, state: &State) -> Result<()> {
    let folders: BTreeSet<String> = state
        .chains
        .values()
        .map(|c| c.folder.to_string())
        .collect();
    for name in files.names_in("layers")? {
        if !folders.contains(&name) {
            told(files.remove_folder("layers", &name));
        }
    }
    let (_, blobs) = state.referenced();
    told(remove_blobs(files, &blobs).map(drop));
    Ok(())
}

/// Names hold slashes and colons: their hash is the file's name.
pub(crate) fn name_key(reference: &Reference) -> Digest {
    Digest::of(reference.to_string().as_bytes())
}
