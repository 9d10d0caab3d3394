//! What a person means by the name or digits of an image, and giving it a further name.

use crate::archive::Loaded;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::name::{NewName, id_in};
use crate::reference::Reference;
use crate::state::{NameRecord, State};
use crate::store::{Inner, Store};

/// Digits of a digest that are enough to mean one.
const DIGITS_MIN: usize = 4;

pub(crate) enum Selected {
    /// A name that is known.
    Name(Reference),
    /// An image, by its digest.
    Image(Digest),
}

impl State {
    /// A name; else a digest of an image, its configuration's too, or at least four of its first
    /// digits; else a name by digest that is cut like this.
    pub(crate) fn select(&self, text: &str) -> Result<Selected> {
        let missing = || Error::NotFound(text.to_string());
        let parsed = text.parse::<Reference>();
        if let Ok(name) = &parsed {
            if self.names.contains_key(name) {
                return Ok(Selected::Name(name.clone()));
            }
            if let Some(image) = self.by_digest_of(name) {
                return Ok(Selected::Image(image));
            }
        }
        if text.contains("@sha256:") {
            let cut = self.names.keys().filter(|n| n.familiar().starts_with(text));
            return only(text, cut.cloned().collect()).map(Selected::Name);
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() < DIGITS_MIN || !digits.bytes().all(is_hex) {
            // What is wrong with a name says more than that it is not here.
            return Err(parsed.map_or_else(Error::from, |_| missing()));
        }
        let fits = |digest: &Digest| digest.hex().starts_with(digits);
        let images = self.images.values();
        let images = images.filter(|(r, _)| fits(&r.manifest) || fits(&r.config));
        only(text, images.map(|(r, _)| r.manifest).collect()).map(Selected::Image)
    }

    /// The image that came from a repository with a digest, its index's too; or the one of an id.
    fn by_digest_of(&self, name: &Reference) -> Option<Digest> {
        let Some(digest) = name.digest() else {
            return self.of_id(id_in(name)?);
        };
        let repository = name.full_repository();
        let mut images = self.images.values().map(|(record, _)| record);
        let found = images.find(|record| {
            (record.manifest == digest || record.indexes.contains(&digest))
                && record.repositories.contains(&repository)
        });
        found.map(|record| record.manifest)
    }
}

fn only<T>(text: &str, mut found: Vec<T>) -> Result<T> {
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Error::NotFound(text.to_string())),
        (Some(_), false) => Err(Error::Ambiguous {
            text: text.to_string(),
            count: found.len() + 1,
        }),
    }
}

impl Store {
    /// Gives an image a further name, which leads from then on to it alone. An image that was called
    /// by its id is called by the name only.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Ambiguous`] as for [`Store::remove`].
    pub fn tag(&self, image: &str, name: &NewName) -> Result<Loaded> {
        let inner = &self.inner;
        let _changes = inner.changes();
        let (manifest, index, ids) = {
            let state = inner.state();
            let (manifest, index) = match state.select(image)? {
                Selected::Image(manifest) => (manifest, None),
                Selected::Name(name) => {
                    let record = state.names.get(&name);
                    let record = record.ok_or_else(|| Error::NotFound(image.to_string()))?;
                    (record.manifest, record.index)
                }
            };
            let ids = state.names_of(manifest).filter(|n| id_in(n).is_some());
            (manifest, index, ids.cloned().collect::<Vec<_>>())
        };
        let reference = name.reference().clone();
        inner.add_repository(manifest, &reference)?;
        let record = NameRecord {
            name: reference.to_string(),
            manifest,
            index,
            // Who gave the name is a person here, and no registry can say otherwise.
            from_registry: false,
        };
        inner.write_name(&reference, record)?;
        inner.forget_names(&ids)?;
        Ok(Loaded {
            reference,
            digest: manifest,
        })
    }
}

impl Inner {
    /// A name by digest in this repository finds the image from now on.
    fn add_repository(&self, manifest: Digest, name: &Reference) -> Result<()> {
        let known = self.state().images.get(&manifest).cloned();
        let Some((mut record, config)) = known else {
            return Err(Error::NotFound(name.to_string()));
        };
        if record.repositories.insert(name.full_repository()) {
            self.files.write_record("images", &manifest, &record)?;
            self.state().images.insert(manifest, (record, config));
        }
        Ok(())
    }
}
