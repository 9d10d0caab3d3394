//! What the store knows, as its records say it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// Whether it was asked for by digest: then it needs no name to stay.
    #[serde(default)]
    pub(crate) by_digest: bool,
}

/// A record as it may be on disk: stores from before images were collected do not say which were
/// asked for by digest.
#[derive(Deserialize)]
struct StoredImage {
    #[serde(flatten)]
    record: ImageRecord,
    by_digest: Option<bool>,
}

impl StoredImage {
    /// Where the record does not say it, an image without a name was asked for by digest. That is
    /// written down, so that one that loses its name later is not taken for such an image.
    fn settled(self, named: &BTreeSet<Digest>, files: &Files) -> ImageRecord {
        let mut record = self.record;
        match self.by_digest {
            Some(by_digest) => record.by_digest = by_digest,
            None => {
                record.by_digest = !named.contains(&record.manifest);
                // A full disk must not keep the images from being used.
                if let Err(error) = files.write_record("images", &record.manifest, &record) {
                    tracing::warn!(image = %record.manifest, error = error.detail(), "rewrite an image's record; it is tried again at the next start");
                }
            }
        }
        record
    }
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
        let named: BTreeSet<Digest> = names.iter().map(|name| name.manifest).collect();
        for stored in files.records::<StoredImage>("images")? {
            let record = stored.settled(&named, files);
            let config = files
                .read_blob(&record.config)
                .and_then(|c| ImageConfig::parse(&c));
            match config {
                Ok((config, _)) => {
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
            size_bytes: record
                .chains
                .iter()
                .filter_map(|c| self.chains.get(c))
                .map(|c| c.bytes)
                .sum(),
            holders: self.holders(&manifest),
        })
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
