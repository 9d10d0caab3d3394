//! Takes names away and removes what nothing uses any more.
//!
//! A tag is somebody's word that an image is wanted: it stays until it is removed. An image by digest
//! came for a task; once nothing has used it for a while, it goes by itself when another one arrives.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::files::{Files, told};
use crate::limits::PARTIAL_KEPT;
use crate::name::id_in;
use crate::reference::Reference;
use crate::select::Selected;
use crate::state::{Chain, State};
use crate::store::{Inner, Store, name_key};

/// What [`Store::gc`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Images without a name that nothing used.
    pub images: usize,
    /// Layers of which no image was left.
    pub layers: usize,
    /// Blobs and broken-off downloads.
    pub files: usize,
}

/// What [`Store::prune`] removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Names that are gone, in their short form.
    pub removed: Vec<String>,
    /// Bytes that were given back.
    pub freed_bytes: u64,
}

impl Store {
    /// Takes a name away, and the image with it when that was its last name. What is no name here
    /// may be an image's digest, or the first digits of one: that image goes with its only name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Pinned`] with what uses the image; [`Error::Ambiguous`] when
    /// digits fit several images; [`Error::SeveralNames`].
    pub fn remove(&self, text: &str) -> Result<()> {
        let _changes = self.inner.changes();
        let state = self.inner.state();
        let (names, manifest) = match state.select(text)? {
            Selected::Name(name) => {
                let manifest = state.names.get(&name).map(|record| record.manifest);
                let manifest = manifest.ok_or_else(|| Error::NotFound(text.to_string()))?;
                (vec![name], manifest)
            }
            Selected::Image(manifest) => {
                let names: Vec<Reference> = state.names_of(manifest).cloned().collect();
                let tags = names.iter().filter(|name| !is_passing(name)).count();
                if tags > 1 {
                    return Err(Error::SeveralNames {
                        image: text.to_string(),
                        names: names.iter().map(Reference::familiar).collect(),
                    });
                }
                (names, manifest)
            }
        };
        let is_last = state.names_of(manifest).all(|name| names.contains(name));
        let holders = state.holders(&manifest);
        if is_last && !holders.is_empty() {
            return Err(Error::Pinned {
                reference: text.to_string(),
                holders,
            });
        }
        drop(state);
        self.inner.forget_names(&names)?;
        self.inner.collect(Some(manifest))?;
        if self.inner.is_settled.load(Ordering::Relaxed) {
            self.collect_all()?;
        }
        Ok(())
    }

    /// Removes images that nothing uses: those without a tag, or all, and every download that was
    /// cut.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::NotSettled`] before [`Store::gc`] was called for the first time.
    pub fn prune(&self, all: bool) -> Result<Pruned> {
        let before = self.usage()?.bytes();
        let _changes = self.inner.changes();
        if !self.inner.is_settled.load(Ordering::Relaxed) {
            return Err(Error::NotSettled);
        }
        let (names, unnamed) = {
            let state = self.inner.state();
            let goes = |name: &Reference, manifest: &Digest| {
                (all || is_passing(name)) && !state.is_used(manifest)
            };
            let names = state.names.iter();
            let names = names.filter(|(name, record)| goes(name, &record.manifest));
            let names: Vec<Reference> = names.map(|(name, _)| name.clone()).collect();
            let is_unnamed =
                |d: &&Digest| !state.is_used(d) && state.names_of(**d).next().is_none();
            let unnamed = state.images.keys().filter(is_unnamed);
            (names, unnamed.map(Digest::to_string).collect::<Vec<_>>())
        };
        self.inner.forget_names(&names)?;
        self.inner.collect(None)?;
        self.inner.remove_downloads(std::time::Duration::ZERO)?;
        let names = names.iter().map(Reference::familiar);
        let after = self.usage()?.bytes();
        Ok(Pruned {
            removed: names.chain(unnamed).collect(),
            freed_bytes: before.saturating_sub(after),
        })
    }

    /// Removes images that have no name and no pin, those by digest that nothing used for a while,
    /// what only they used, and downloads that nobody went on with for a day. To be called after
    /// running containers have pinned their images; from then on each removal does the same.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn gc(&self) -> Result<Collected> {
        let _changes = self.inner.changes();
        self.inner.is_settled.store(true, Ordering::Relaxed);
        self.collect_all()
    }

    /// The caller holds `changes`.
    fn collect_all(&self) -> Result<Collected> {
        self.inner.forget_idle()?;
        let mut collected = self.inner.collect(None)?;
        collected.files += self.inner.remove_downloads(PARTIAL_KEPT)?;
        Ok(collected)
    }
}

/// Whether a name says only which content it means: then nobody gave it.
fn is_passing(name: &Reference) -> bool {
    name.digest().is_some() || id_in(name).is_some()
}

impl State {
    /// Whether something runs from an image, or is about to.
    fn is_used(&self, manifest: &Digest) -> bool {
        self.pins.contains_key(manifest) || self.busy.contains_key(manifest)
    }

    pub(crate) fn names_of(&self, manifest: Digest) -> impl Iterator<Item = &Reference> {
        let names = self.names.iter();
        names
            .filter(move |(_, record)| record.manifest == manifest)
            .map(|(name, _)| name)
    }
}

impl Inner {
    /// The caller holds `changes`.
    pub(crate) fn forget_names(&self, names: &[Reference]) -> Result<()> {
        for name in names {
            self.files.remove_record("names", &name_key(name))?;
            self.state().names.remove(name);
        }
        Ok(())
    }

    /// Another image has come, and takes room: those by digest that are idle go. One that just lost
    /// its name to the new one does not, as a task may be about to use it. The caller holds `changes`.
    pub(crate) fn collect_after_arrival(&self) {
        if self.is_settled.load(Ordering::Relaxed) {
            told(self.collect_idle());
        }
    }

    fn collect_idle(&self) -> Result<()> {
        for manifest in self.forget_idle()? {
            self.collect(Some(manifest))?;
        }
        Ok(())
    }

    /// Takes the names by digest from images that nothing used for a while, and tells which these
    /// are. The caller holds `changes`.
    fn forget_idle(&self) -> Result<BTreeSet<Digest>> {
        let idle: Vec<(Reference, Digest)> = {
            let state = self.state();
            let kept = self.limits.by_digest_kept;
            let is_idle = |manifest: &Digest| {
                let since = state.idle_since.get(manifest);
                !state.is_used(manifest) && since.is_none_or(|since| since.elapsed() >= kept)
            };
            let names = state.names.iter().map(|(name, r)| (name, r.manifest));
            let names = names.filter(|(name, image)| name.digest().is_some() && is_idle(image));
            names.map(|(name, image)| (name.clone(), image)).collect()
        };
        let (names, images): (Vec<Reference>, BTreeSet<Digest>) = idle.into_iter().unzip();
        self.forget_names(&names)?;
        Ok(images)
    }

    /// Removes downloads that nobody went on with for so long, and tells how many. The caller holds
    /// `changes`.
    fn remove_downloads(&self, kept: std::time::Duration) -> Result<usize> {
        let mut removed = 0;
        for name in self.files.names_in("partial")? {
            let busy = format!("sha256:{name}")
                .parse()
                .is_ok_and(|d| self.state().busy.contains_key(&d));
            if !busy && self.files.age("partial", &name) >= kept {
                self.files.remove_file("partial", &name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes images without name and pin, all or one, and what only they used. Records go before
    /// what they speak of. The caller holds `changes`.
    fn collect(&self, only: Option<Digest>) -> Result<Collected> {
        let mut collected = Collected::default();
        let unused: Vec<Digest> = {
            let mut state = self.state();
            let named: BTreeSet<Digest> = state.names.values().map(|n| n.manifest).collect();
            let is_unused = |d: &Digest| {
                only.is_none_or(|only| only == *d) && !named.contains(d) && !state.is_used(d)
            };
            let unused: Vec<Digest> = state.images.keys().copied().filter(is_unused).collect();
            for digest in &unused {
                state.images.remove(digest);
                state.idle_since.remove(digest);
            }
            unused
        };
        for digest in unused {
            self.files.remove_record("images", &digest)?;
            collected.images += 1;
        }
        self.sweep_held(&mut collected)?;
        Ok(collected)
    }

    /// Removes layers and blobs that neither an image nor an install in progress needs.
    pub(crate) fn sweep(&self) -> Result<()> {
        let _changes = self.changes();
        self.sweep_held(&mut Collected::default())
    }

    fn sweep_held(&self, collected: &mut Collected) -> Result<()> {
        // Whoever starts to count on a digest waits for `changes`, so that what is unused here
        // stays unused until the files are gone.
        let (unused, blobs) = {
            let mut state = self.state();
            let (chains, blobs) = state.referenced();
            let is_unused = |chain: &&Chain| !chains.contains(&chain.chain);
            let unused: Vec<Chain> = state.chains.values().filter(is_unused).cloned().collect();
            for chain in &unused {
                state.chains.remove(&chain.chain);
            }
            (unused, blobs)
        };
        for chain in unused {
            if chain.recorded {
                self.files.remove_record("chains", &chain.chain)?;
            }
            let folder = chain.folder.to_string();
            told(self.files.remove_folder("layers", &folder));
            collected.layers += 1;
        }
        collected.files += remove_blobs(&self.files, &blobs)?;
        Ok(())
    }
}

pub(crate) fn remove_blobs(files: &Files, kept: &BTreeSet<Digest>) -> Result<usize> {
    let mut removed = 0;
    for name in files.names_in("blobs")? {
        if !format!("sha256:{name}")
            .parse()
            .is_ok_and(|d: Digest| kept.contains(&d))
        {
            files.remove_file("blobs", &name)?;
            removed += 1;
        }
    }
    Ok(removed)
}
