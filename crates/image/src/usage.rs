//! How much room images take, and what of it nothing uses.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::error::Result;
use crate::store::{Inner, Store};

/// What the store holds. Layers are counted once, however many images have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Their bytes are those of the layers.
    pub images: Share,
    /// Unpacked.
    pub layers: Share,
    /// Compressed layers of images that were loaded.
    pub archives: Share,
    /// That were cut and may go on.
    pub downloads: Share,
    /// Bytes that are free on the disk.
    pub free_bytes: u64,
}

/// One kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    pub count: u64,
    /// That something runs from.
    pub used: u64,
    pub bytes: u64,
    /// Bytes of those that nothing runs from.
    pub reclaimable_bytes: u64,
}

impl Usage {
    /// All bytes that images take.
    pub(crate) fn bytes(&self) -> u64 {
        self.layers.bytes + self.archives.bytes + self.downloads.bytes
    }
}

impl Share {
    fn add(&mut self, bytes: u64, is_used: bool) {
        self.count += 1;
        self.used += u64::from(is_used);
        self.bytes += bytes;
        if !is_used {
            self.reclaimable_bytes += bytes;
        }
    }
}

impl Store {
    /// What the store holds now.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn usage(&self) -> Result<Usage> {
        let inner = &self.inner;
        let mut usage = Usage {
            free_bytes: inner.files.free_bytes()?,
            ..Usage::default()
        };
        let kept = inner.count_images(&mut usage);
        for (blob, is_used) in kept {
            let bytes = inner.files.length("blobs", &blob.hex());
            usage.archives.add(bytes, is_used);
        }
        for name in inner.files.names_in("partial")? {
            let digest: Option<Digest> = format!("sha256:{name}").parse().ok();
            let is_used = digest.is_some_and(|d| inner.state().busy.contains_key(&d));
            usage
                .downloads
                .add(inner.files.length("partial", &name), is_used);
        }
        Ok(usage)
    }
}

impl Inner {
    /// Counts images and layers; gives back the compressed layers, and which of them are used.
    fn count_images(&self, usage: &mut Usage) -> Vec<(Digest, bool)> {
        let state = self.state();
        let mut used_chains = BTreeSet::<&Digest>::new();
        let mut used_blobs = BTreeSet::<&Digest>::new();
        let mut blobs = BTreeSet::<Digest>::new();
        for (manifest, (record, _)) in &state.images {
            let is_used = state.pins.contains_key(manifest) || state.busy.contains_key(manifest);
            usage.images.count += 1;
            usage.images.used += u64::from(is_used);
            blobs.extend(&record.blobs);
            if is_used {
                used_chains.extend(&record.chains);
                used_blobs.extend(&record.blobs);
            }
        }
        for (digest, chain) in &state.chains {
            usage.layers.add(chain.bytes, used_chains.contains(digest));
        }
        usage.images.bytes = usage.layers.bytes;
        usage.images.reclaimable_bytes = usage.layers.reclaimable_bytes;
        let blobs = blobs.into_iter();
        blobs
            .map(|blob| (blob, used_blobs.contains(&blob)))
            .collect()
    }
}
