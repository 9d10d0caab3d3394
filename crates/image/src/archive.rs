//! Image archives: OCI layouts and what `docker save` writes, as tar or compressed tar.
//!
//! An archive is read once, front to back, so that it may come over a connection. No name in it
//! ever becomes a path, and every member that is used is checked against the digest that leads to
//! it. Nothing that is in an archive is dropped without a word: what is no image for this machine is
//! told, and an image without a name gets one of its digest.

mod docker;
mod members;
mod oci;
mod rootfs;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use self::members::{Members, cleaned, linked};
use crate::digest::Digest;
use crate::entries::{Entries, Entry, Kind};
use crate::error::{Error, Result};
use crate::files::Received;
use crate::inflate::with_plain;
use crate::install::{Busy, Checked, Progress, ProgressFn, Source};
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG};
use crate::name::{NewName, of_id};
use crate::reference::Reference;
use crate::store::Store;

/// How [`Store::load_archive`] treats names.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Whether a name that already means another image is moved. Without it such an archive is
    /// refused: an import must not swap what running services start from.
    pub replace: bool,
    /// What the image is to be called, in place of the names in the archive. Without a tag it goes
    /// with the tags that the archive has.
    pub name: Option<NewName>,
}

/// A name that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name in the archive, or the one that was given; of an image without a name its id.
    pub reference: Reference,
    /// The manifest's digest.
    pub digest: Digest,
}

/// What became of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadedArchive {
    /// By image, in the archive's order.
    pub images: Vec<Loaded>,
    /// What was in it and was not loaded, in words: other machines' images, signatures.
    pub left_out: Vec<String>,
}

/// Names, with the index they came through if any, and the image.
struct Found {
    /// None means that it is called by its digest.
    names: Vec<Reference>,
    index: Option<Digest>,
    image: Checked,
}

/// The name that the caller gave, for the images of one archive.
struct Given<'a> {
    name: Option<&'a NewName>,
}

impl Given<'_> {
    /// What an image is called that the archive calls so.
    fn names(&self, names: Vec<Reference>, tags: &[String]) -> Result<Vec<Reference>> {
        let Some(given) = self.name else {
            return Ok(names);
        };
        let own_tags = names.iter().filter_map(Reference::tag);
        let mut all: Vec<Reference> = own_tags
            .chain(tags.iter().map(String::as_str))
            .map(|tag| given.with_tag(tag))
            .collect::<Result<_, _>>()?;
        if all.is_empty() {
            all.push(given.reference().clone());
        }
        all.sort();
        all.dedup();
        Ok(all)
    }
}

impl Store {
    /// Loads all images of an archive. Blocks; reads to the end of `source`.
    ///
    /// # Errors
    /// [`Error::Archive`] for what is no image archive, [`Error::TagExists`], and whatever else is
    /// wrong with the images: nothing of an image that failed stays behind.
    pub fn load_archive(
        &self,
        source: impl Read + Send,
        options: &LoadOptions,
        progress: ProgressFn<'_>,
    ) -> Result<LoadedArchive> {
        let mut members = self.read_members(source, progress)?;
        let name = options.name.as_ref();
        let (given, limits) = (Given { name }, &self.inner.limits);
        let (mut found, left_out) = if members.has("index.json") {
            oci::images(&members, &given, limits)?
        } else if members.has("manifest.json") {
            let lone = oci::lone_image(&members, &given, limits)?;
            let found = lone.map_or_else(|| docker::images(&members, &given, limits), Ok)?;
            (found, Vec::new())
        } else {
            return Err(Error::archive(
                "it has neither index.json nor manifest.json; make it with docker save, \
                 skopeo copy or another tool that writes OCI archives",
            ));
        };
        for found in found.iter_mut().filter(|found| found.names.is_empty()) {
            found.names.push(of_id(found.image.digest)?);
        }
        check_distinct(&found)?;
        if !options.replace {
            for found in &found {
                self.check_names(found)?;
            }
        }
        let mut images = Vec::new();
        for found in found {
            images.extend(self.install_swept(found, &mut members, progress)?);
        }
        Ok(LoadedArchive { images, left_out })
    }

    /// [`Store::load_archive`] from a file.
    ///
    /// # Errors
    /// As [`Store::load_archive`].
    pub fn load_archive_file(
        &self,
        path: &Path,
        options: &LoadOptions,
        progress: ProgressFn<'_>,
    ) -> Result<LoadedArchive> {
        let file = File::open(path).map_err(|e| Error::read(path.display().to_string(), e))?;
        self.load_archive(file, options, progress)
    }

    fn read_members(&self, source: impl Read + Send, progress: ProgressFn<'_>) -> Result<Members> {
        let limits = &self.inner.limits;
        let look = || self.inner.look();
        let read = with_plain(source, limits, limits.image_bytes, &look, |plain| {
            let mut members = Members::default();
            let mut entries = Entries::new(plain, limits);
            let (mut count, mut bytes) = (0, 0);
            while let Some(entry) = entries.next()? {
                count += 1;
                if count > limits.archive_members {
                    let what = "the number of archive members".to_string();
                    let limit = limits.archive_members;
                    return Err(io::Error::other(Error::Limit { what, limit }));
                }
                bytes += self.add_member(&mut members, &entry, &mut entries)?;
                // The holes of sparse members count as well: they are written out.
                if bytes > limits.image_bytes {
                    let what = "the size of the archive's members".to_string();
                    let limit = limits.image_bytes;
                    return Err(io::Error::other(Error::Limit { what, limit }));
                }
                progress(Progress::Received { bytes, total: None });
            }
            entries.finish()?;
            Ok(members)
        });
        let (members, _) = read.map_err(|e| match e.downcast::<Error>() {
            Ok(error) => error,
            Err(e) => Error::archive(e.to_string()),
        })?;
        Ok(members)
    }

    /// Keeps a member under its name; gives back how many bytes it has.
    fn add_member(
        &self,
        members: &mut Members,
        entry: &Entry,
        content: &mut impl Read,
    ) -> io::Result<u64> {
        // What leads out of the archive is a name that nothing in it can mean.
        let Some(name) = cleaned(&entry.path) else {
            return Ok(0);
        };
        match entry.kind {
            Kind::File => {
                let received = self.receive_member(entry, content);
                let received = received.map_err(io::Error::other)?;
                let bytes = received.bytes;
                members.add(name, received);
                return Ok(bytes);
            }
            Kind::Symlink => {
                if let Some(target) = linked(&name, &entry.link) {
                    members.add_link(name, target);
                }
            }
            Kind::HardLink => {
                if let Some(target) = cleaned(&entry.link) {
                    members.add_link(name, target);
                }
            }
            Kind::Folder | Kind::Fifo | Kind::Device => {}
        }
        Ok(0)
    }

    fn receive_member(&self, entry: &Entry, content: &mut impl Read) -> Result<Received> {
        let (files, bytes_max) = (&self.inner.files, self.inner.limits.blob_bytes);
        let shown = format!("member \"{}\"", entry.path.escape_ascii());
        let look = || self.inner.look();
        match &entry.sparse {
            Some(sparse) => files.receive(&mut sparse.filled(content), &shown, bytes_max, &look),
            None => files.receive(content, &shown, bytes_max, &look),
        }
    }

    fn check_names(&self, found: &Found) -> Result<()> {
        for reference in &found.names {
            let new = found.image.digest;
            if let Some(existing) = self.inner.named(reference).filter(|d| *d != new) {
                return Err(Error::TagExists {
                    reference: Box::new(reference.clone()),
                    existing,
                    new,
                });
            }
        }
        Ok(())
    }

    fn install_swept(
        &self,
        found: Found,
        members: &mut Members,
        progress: ProgressFn<'_>,
    ) -> Result<Vec<Loaded>> {
        let installed = self.install_found(found, members, progress);
        if installed.is_err() {
            self.inner.sweep()?;
        }
        installed
    }

    fn install_found(
        &self,
        found: Found,
        members: &mut Members,
        progress: ProgressFn<'_>,
    ) -> Result<Vec<Loaded>> {
        let inner = &self.inner;
        let _busy = Busy::of(inner, &found.image);
        let layers = found.image.manifest.layers.clone();
        for layer in &layers {
            // Two images of one archive share blobs: the first one took it over.
            if inner.files.blob(&layer.digest).exists() {
                continue;
            }
            let Some(member) = members.take(&layer.digest) else {
                let name = format!("blobs/sha256/{}", layer.digest.hex());
                return Err(match members.find(&name) {
                    Ok((actual, _)) => Error::Mismatch {
                        what: format!("archive member {name}"),
                        expected: layer.digest.to_string(),
                        actual: actual.to_string(),
                    },
                    Err(_) => Error::archive(format!("layer {} is missing", layer.digest)),
                });
            };
            if member.bytes != layer.size {
                return Err(Error::Mismatch {
                    what: format!("layer {}", layer.digest),
                    expected: format!("{} bytes", layer.size),
                    actual: format!("{} bytes", member.bytes),
                });
            }
            member.path.keep_as(&inner.files.blob(&layer.digest))?;
        }
        let open = |at: usize| inner.open_blob(&layers[at].digest);
        let source = Source {
            open: &open,
            keeps_layers: true,
            from_registry: false,
        };
        let digest = found.image.digest;
        inner.install(found.image, &source, &found.names, found.index, progress)?;
        Ok(found
            .names
            .into_iter()
            .map(|reference| Loaded { reference, digest })
            .collect())
    }
}

/// One name for two images would lose one of them.
fn check_distinct(found: &[Found]) -> Result<()> {
    let mut names: Vec<&Reference> = found.iter().flat_map(|found| &found.names).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::archive(format!(
            "two of its images would be called {}; give a name without a tag, or load it without one",
            pair[0]
        ))),
    }
}

/// An image that comes without a manifest gets one.
fn assemble(shown: &str, config: Vec<u8>, layers: Vec<Descriptor>) -> Result<Checked> {
    let config_descriptor = Descriptor::new(OCI_CONFIG, Digest::of(&config), config.len() as u64);
    let manifest = Manifest::new(config_descriptor, layers);
    let json =
        serde_json::to_vec(&manifest).map_err(|e| Error::document("manifest", e.to_string()))?;
    Checked::new(shown, json, manifest, config)
}
