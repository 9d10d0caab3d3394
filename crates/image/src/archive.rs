//! Image archives: OCI layouts and what `docker save` writes, as tar or compressed tar.
//!
//! An archive is read once, front to back, so that it may come over a connection. Its members are
//! an index by exact name and nothing more: no name in it ever becomes a path, links are not
//! followed, and every member that is used is checked against the digest that leads to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Deserialize;

use crate::digest::Digest;
use crate::entries::{Entries, Kind};
use crate::error::{At, Error, Result};
use crate::files::{Received, Temporary};
use crate::folder;
use crate::inflate::with_plain;
use crate::install::{Busy, Checked, Progress, ProgressFn, Source};
use crate::manifest::{self, Descriptor, Document, Manifest, OCI_CONFIG, OCI_LAYER};
use crate::reference::Reference;
use crate::store::Store;

/// How [`Store::load_archive`] treats names.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Whether a name that already means another image is moved. Without it such an archive is
    /// refused: an import must not swap what running services start from.
    pub replace: bool,
    /// The name of an archive with one image that names none.
    pub name: Option<Reference>,
}

/// A name that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name in the archive.
    pub reference: Reference,
    /// The manifest's digest.
    pub digest: Digest,
}

/// Names, with the index they came through if any, and the image.
struct Found {
    names: Vec<Reference>,
    index: Option<Digest>,
    image: Checked,
}

/// A regular member, kept in a temporary file.
struct Member {
    temporary: Temporary,
    digest: Digest,
    bytes: u64,
}

type Members = BTreeMap<Vec<u8>, Member>;

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
    ) -> Result<Vec<Loaded>> {
        let mut members = self.read_members(source, progress)?;
        let found = if members.contains_key(b"index.json".as_slice()) {
            self.oci_images(&mut members, options)?
        } else if members.contains_key(b"manifest.json".as_slice()) {
            self.docker_images(&members, options)?
        } else {
            return Err(Error::archive(
                "it has neither index.json nor manifest.json; make it with docker save, \
                 skopeo copy or another tool that writes OCI archives",
            ));
        };
        if !options.replace {
            for found in &found {
                self.check_names(found)?;
            }
        }
        let mut loaded = Vec::new();
        for found in found {
            loaded.extend(self.install_swept(found, &mut members, progress)?);
        }
        Ok(loaded)
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
    ) -> Result<Vec<Loaded>> {
        let file = File::open(path).map_err(|e| Error::read(path.display().to_string(), e))?;
        self.load_archive(file, options, progress)
    }

    /// Makes an image with one layer of a folder's content: a root file system that some tool put
    /// together. Blocks.
    ///
    /// # Errors
    /// [`Error::Read`] when the folder cannot be read, else as [`Store::load_archive`].
    pub fn import_rootfs(
        &self,
        name: &Reference,
        folder: &Path,
        options: &LoadOptions,
        progress: ProgressFn<'_>,
    ) -> Result<Loaded> {
        folder::check(folder, self.inner.files.root())?;
        let cannot_read = |e| Error::read(folder.display().to_string(), e);
        let temporary = self.inner.files.temporary()?;
        let mut tar = tar::Builder::new(io::BufWriter::new(&temporary.file));
        tar.follow_symlinks(false);
        folder::append(&mut tar, folder).map_err(cannot_read)?;
        let written = tar
            .into_inner()
            .and_then(|b| b.into_inner().map_err(|e| e.into_error()));
        written.map_err(cannot_read)?;
        let mut layer = File::open(temporary.path()).at("open", temporary.path())?;
        let received = self.receive(&mut layer, "the folder")?;
        let config = serde_json::json!({
            "architecture": manifest::own_architecture(),
            "os": "linux",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": { "type": "layers", "diff_ids": [received.digest.to_string()] },
        });
        let layer = descriptor(OCI_LAYER, received.digest, received.bytes);
        let image = assemble(name, config.to_string().into_bytes(), vec![layer])?;
        let found = Found {
            names: vec![name.clone()],
            index: None,
            image,
        };
        if !options.replace {
            self.check_names(&found)?;
        }
        let mut members = Members::from([(Vec::new(), received.into())]);
        let loaded = self.install_swept(found, &mut members, progress)?;
        loaded
            .into_iter()
            .next()
            .ok_or_else(|| Error::archive("it has no image"))
    }

    fn receive(&self, source: &mut impl Read, what: &str) -> Result<Received> {
        self.inner
            .files
            .receive(source, what, self.inner.limits.blob_bytes)
    }

    fn read_members(&self, source: impl Read + Send, progress: ProgressFn<'_>) -> Result<Members> {
        let limits = &self.inner.limits;
        let read = with_plain(source, limits, limits.image_bytes, |plain| {
            let mut members = Members::new();
            let mut entries = Entries::new(plain, limits);
            let (mut count, mut bytes) = (0, 0);
            while let Some(entry) = entries.next()? {
                count += 1;
                if count > limits.archive_members {
                    let what = "the number of archive members".to_string();
                    let limit = limits.archive_members;
                    return Err(io::Error::other(Error::Limit { what, limit }));
                }
                if entry.kind != Kind::File {
                    continue;
                }
                let shown = format!("member \"{}\"", entry.path.escape_ascii());
                let name = entry
                    .path
                    .strip_prefix(b"./")
                    .unwrap_or(&entry.path)
                    .to_vec();
                let member = self
                    .receive(&mut entries, &shown)
                    .map_err(io::Error::other)?;
                bytes += member.bytes;
                if members.insert(name, member.into()).is_some() {
                    return Err(io::Error::other(Error::archive(format!("two of {shown}"))));
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

    // --- OCI layout ----------------------------------------------------------------------------

    fn oci_images(&self, members: &mut Members, options: &LoadOptions) -> Result<Vec<Found>> {
        let json = self.small(members, b"index.json", self.inner.limits.manifest_bytes)?;
        let Document::Index(entries) = Document::parse(&json, None, &self.inner.limits)? else {
            return Err(Error::document("index", "index.json is no index"));
        };
        let mut found: Vec<Found> = Vec::new();
        for entry in &entries {
            let name = match name_of(entry)? {
                Some(name) => name,
                None if entries.len() == 1 => options.name.clone().ok_or_else(unnamed)?,
                // Attestations and the like stand beside the images they speak of.
                None => continue,
            };
            let (image, index) = self.oci_image(members, entry, &name, 1)?;
            match found
                .iter_mut()
                .find(|f| f.image.digest == image.digest && f.index == index)
            {
                Some(same) => same.names.push(name),
                None => found.push(Found {
                    names: vec![name],
                    index,
                    image,
                }),
            }
        }
        if found.is_empty() {
            return Err(unnamed());
        }
        Ok(found)
    }

    fn oci_image(
        &self,
        members: &Members,
        entry: &Descriptor,
        name: &Reference,
        depth: usize,
    ) -> Result<(Checked, Option<Digest>)> {
        let limits = &self.inner.limits;
        if depth > limits.index_depth {
            let what = "the nesting of indexes".to_string();
            return Err(Error::Limit {
                what,
                limit: limits.index_depth as u64,
            });
        }
        let json = self.content(members, entry, limits.manifest_bytes)?;
        let promised = Some(entry.media_type.as_str()).filter(|m| !m.is_empty());
        match Document::parse(&json, promised, limits)? {
            Document::Index(entries) => {
                let inner = manifest::select(&entries, &name.to_string())?;
                let (image, _) = self.oci_image(members, inner, name, depth + 1)?;
                Ok((image, Some(entry.digest)))
            }
            Document::Manifest(manifest) => {
                let config = self.content(members, &manifest.config, limits.config_bytes)?;
                let image = Checked::new(&name.to_string(), json, manifest, config)?;
                Ok((image, None))
            }
        }
    }

    /// The bytes that a descriptor promises.
    fn content(&self, members: &Members, wanted: &Descriptor, bytes_max: u64) -> Result<Vec<u8>> {
        let name = format!("blobs/sha256/{}", wanted.digest.hex());
        let bytes = self.small(members, name.as_bytes(), bytes_max)?;
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        if digest != wanted.digest || size != wanted.size {
            return Err(Error::Mismatch {
                what: format!("archive member {name}"),
                expected: format!("{} with {} bytes", wanted.digest, wanted.size),
                actual: format!("{digest} with {size} bytes"),
            });
        }
        Ok(bytes)
    }

    // --- docker save ---------------------------------------------------------------------------

    fn docker_images(&self, members: &Members, options: &LoadOptions) -> Result<Vec<Found>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Saved {
            config: String,
            repo_tags: Option<Vec<String>>,
            layers: Vec<String>,
        }
        let limits = &self.inner.limits;
        let json = self.small(members, b"manifest.json", limits.manifest_bytes)?;
        let saved: Vec<Saved> = serde_json::from_slice(&json)
            .map_err(|e| Error::document("manifest", e.to_string()))?;
        let mut found = Vec::new();
        for saved in &saved {
            let mut names = Vec::new();
            for tag in saved.repo_tags.iter().flatten() {
                names.push(tag.parse::<Reference>()?);
            }
            if names.is_empty() {
                let only = options.name.clone().filter(|_| saved_is_only(&json));
                names.push(only.ok_or_else(unnamed)?);
            }
            if saved.layers.len() > limits.layers {
                let what = "the number of layers".to_string();
                return Err(Error::Limit {
                    what,
                    limit: limits.layers as u64,
                });
            }
            let config = self.small(members, saved.config.as_bytes(), limits.config_bytes)?;
            let mut layers = Vec::new();
            for layer in &saved.layers {
                let member = member(members, layer.as_bytes())?;
                layers.push(descriptor(media_type(member), member.digest, member.bytes));
            }
            let image = assemble(&names[0], config, layers)?;
            found.push(Found {
                names,
                index: None,
                image,
            });
        }
        if found.is_empty() {
            return Err(Error::archive("its manifest.json lists no image"));
        }
        Ok(found)
    }

    // --- both ----------------------------------------------------------------------------------

    fn small(&self, members: &Members, name: &[u8], bytes_max: u64) -> Result<Vec<u8>> {
        let member = member(members, name)?;
        if member.bytes > bytes_max {
            let what = format!("the size of archive member \"{}\"", name.escape_ascii());
            return Err(Error::Limit {
                what,
                limit: bytes_max,
            });
        }
        // Not larger than the limit just checked, which fits memory.
        let mut bytes = vec![0; member.bytes as usize];
        member
            .temporary
            .file
            .read_exact_at(&mut bytes, 0)
            .at("read", member.temporary.path())?;
        Ok(bytes)
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
            let key = members
                .iter()
                .find(|(_, m)| m.digest == layer.digest)
                .map(|(k, _)| k.clone());
            let Some(member) = key.and_then(|key| members.remove(&key)) else {
                let name = format!("blobs/sha256/{}", layer.digest.hex());
                return Err(match members.get(name.as_bytes()) {
                    Some(other) => Error::Mismatch {
                        what: format!("archive member {name}"),
                        expected: layer.digest.to_string(),
                        actual: other.digest.to_string(),
                    },
                    None => Error::archive(format!("layer {} is missing", layer.digest)),
                });
            };
            if member.bytes != layer.size {
                return Err(Error::Mismatch {
                    what: format!("layer {}", layer.digest),
                    expected: format!("{} bytes", layer.size),
                    actual: format!("{} bytes", member.bytes),
                });
            }
            member.temporary.keep_as(&inner.files.blob(&layer.digest))?;
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

impl From<Received> for Member {
    fn from(received: Received) -> Self {
        let Received {
            temporary,
            digest,
            bytes,
        } = received;
        Self {
            temporary,
            digest,
            bytes,
        }
    }
}

/// Name by the annotation of containerd, which is always full, else by OCI's, which some tools
/// fill with a tag alone.
fn name_of(entry: &Descriptor) -> Result<Option<Reference>> {
    if let Some(name) = entry.annotations.get("io.containerd.image.name") {
        return Ok(Some(name.parse()?));
    }
    match entry.annotations.get("org.opencontainers.image.ref.name") {
        Some(name) if name.contains(['/', ':']) => Ok(Some(name.parse()?)),
        _ => Ok(None),
    }
}

fn unnamed() -> Error {
    Error::archive("it does not say what the image is called; give a name, or save it with one")
}

fn saved_is_only(manifest_json: &[u8]) -> bool {
    serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(manifest_json).is_ok_and(|v| v.len() == 1)
}

fn member<'a>(members: &'a Members, name: &[u8]) -> Result<&'a Member> {
    members.get(name).ok_or_else(|| {
        Error::archive(format!(
            "it has no regular member \"{}\"",
            name.escape_ascii()
        ))
    })
}

fn media_type(member: &Member) -> &'static str {
    let mut start = [0; 4];
    let _ = member.temporary.file.read_at(&mut start, 0);
    match start {
        [0x1f, 0x8b, ..] => "application/vnd.oci.image.layer.v1.tar+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => OCI_LAYER,
    }
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    let media_type = media_type.to_string();
    Descriptor {
        media_type,
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

/// An image that comes without a manifest gets one.
fn assemble(name: &Reference, config: Vec<u8>, layers: Vec<Descriptor>) -> Result<Checked> {
    let config_descriptor = descriptor(OCI_CONFIG, Digest::of(&config), config.len() as u64);
    let manifest = Manifest::new(config_descriptor, layers);
    let json =
        serde_json::to_vec(&manifest).map_err(|e| Error::document("manifest", e.to_string()))?;
    Checked::new(&name.to_string(), json, manifest, config)
}
