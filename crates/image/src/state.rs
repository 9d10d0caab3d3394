//! What the store knows, as its records say it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::Result;
use crate::files::Files;
use crate::reference::Reference;
use crate::store::Listed;

#[derive(Default)]
pub(crate) struct State {
    /// Unpacked layers by chain id.
    pub(crate) chains: BTreeMap<Digest, Chain>,
    /// Chains that are being unpacked at this moment.
    pub(crate) unpacking: BTreeSet<Digest>,
    /// Chains and blobs that an install in progress counts on, and how many do.
    pub(crate) busy: BTreeMap<Digest, usize>,
    pub(crate) next_layer: u64,
    pub(crate) images: BTreeMap<Digest, (ImageRecord, Arc<ImageConfig>)>,
    pub(crate) names: BTreeMap<Reference, NameRecord>,
    pub(crate) pins: BTreeMap<Digest, BTreeMap<u64, String>>,
    pub(crate) next_pin: u64,
    /// Since when nothing uses an image; as of this process's start where it was so before.
    pub(crate) idle_since: BTreeMap<Digest, Instant>,
}

/// A layer on top of particular layers: what it looks like unpacked depends on those below.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chain {
    pub(crate) chain: Digest,
    pub(crate) folder: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// Whether its record is on disk.
    #[serde(skip)]
    pub(crate) recorded: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) manifest: Digest,
    pub(crate) config: Digest,
    /// The lowest first.
    pub(crate) chains: Vec<Digest>,
    /// Compressed layers that are kept.
    pub(crate) blobs: BTreeSet<Digest>,
    /// Repositories the image came from: a name by digest is good only for these.
    pub(crate) repositories: BTreeSet<String>,
    pub(crate) indexes: BTreeSet<Digest>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    pub(crate) name: String,
    pub(crate) manifest: Digest,
    pub(crate) index: Option<Digest>,
    /// Whether a registry said what the name leads to, and may say otherwise by now.
    #[serde(default)]
    pub(crate) from_registry: bool,
}

impl State {
    pub(crate) fn read(files: &Files) -> Result<Self> {
        let mut state = Self::default();
        for mut chain in files.records::<Chain>("chains")? {
            chain.recorded = true;
            state.next_layer = state.next_layer.max(chain.folder.saturating_add(1));
            state.chains.insert(chain.chain, chain);
        }
        let names = files.records::<NameRecord>("names")?;
        for record in files.records::<ImageRecord>("images")? {
            let config = files
                .read_blob(&record.config)
                .and_then(|c| ImageConfig::parse(&c));
            match config {
                Ok((config, _)) => {
                    state.idle_since.insert(record.manifest, Instant::now());
                    state
                        .images
                        .insert(record.manifest, (record, Arc::new(config)));
                }
                // One damaged image must not keep the others from being used.
                Err(error) => {
                    tracing::error!(image = %record.manifest, error = error.detail(), "an image is damaged and left out; load or pull it again");
                }
            }
        }
        for record in names {
            if let Ok(reference) = record.name.parse()
                && state.images.contains_key(&record.manifest)
            {
                state.names.insert(reference, record);
            }
        }
        Ok(state)
    }

    /// A layer that is left over and could not be removed keeps its number.
    pub(crate) fn skip_layers_of(&mut self, files: &Files) -> Result<()> {
        let names = files.names_in("layers")?;
        let taken = names.iter().filter_map(|name| name.parse::<u64>().ok());
        let next = taken.map(|number| number.saturating_add(1)).max();
        self.next_layer = self.next_layer.max(next.unwrap_or(0));
        Ok(())
    }

    pub(crate) fn listed(&self, reference: Option<&Reference>, manifest: Digest) -> Option<Listed> {
        let (record, config) = self.images.get(&manifest)?;
        Some(Listed {
            reference: reference.cloned(),
            manifest_digest: manifest,
            architecture: config.architecture.clone(),
            created: config.created.clone(),
            layers: record.chains.len(),
            size_bytes: record
                .chains
                .iter()
                .filter_map(|c| self.chains.get(c))
                .map(|c| c.bytes)
                .sum(),
            holders: self.holders(&manifest),
        })
    }

    /// The image with an id: its manifest's digest, or its configuration's as Docker says it.
    pub(crate) fn of_id(&self, id: Digest) -> Option<Digest> {
        let has_id = |(record, _): &&(ImageRecord, _)| record.config == id;
        match self.images.contains_key(&id) {
            true => Some(id),
            false => self.images.values().find(has_id).map(|(r, _)| r.manifest),
        }
    }

    pub(crate) fn holders(&self, manifest: &Digest) -> Vec<String> {
        self.pins
            .get(manifest)
            .map(|pins| pins.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Chains and blobs that images or installs in progress need.
    pub(crate) fn referenced(&self) -> (BTreeSet<Digest>, BTreeSet<Digest>) {
        let mut chains: BTreeSet<Digest> = self.busy.keys().copied().collect();
        let mut blobs = chains.clone();
        for (record, _) in self.images.values() {
            chains.extend(&record.chains);
            blobs.extend(&record.blobs);
            blobs.extend([record.manifest, record.config]);
        }
        (chains, blobs)
    }
}
