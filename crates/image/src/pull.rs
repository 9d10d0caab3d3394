//! Pulls images from registries.
//!
//! Callers that want the same image at the same time, with the same credentials, share one pull.
//! Layers come in a few at a time and are unpacked, in order, while later ones still arrive. A
//! download that is cut goes on where it stopped, also after a restart. A pulled layer's compressed
//! form is dropped once it is unpacked: the registry has it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::digest::Digest;
use crate::endpoint::{Credentials, Mirrors};
use crate::error::{At, Error, Result};
use crate::flight::{Flight, Unwanted};
use crate::hosts::Hosts;
use crate::install::{Busy, Checked, Progress, Source};
use crate::limits::{DOWNLOAD_ATTEMPTS, DOWNLOADS_AT_ONCE};
use crate::logins::Logins;
use crate::manifest::{Descriptor, Document, Manifest};
use crate::platform::{Machine, candidates};
use crate::reference::{Reference, Version};
use crate::registry::Registry;
use crate::registry::encoding;
use crate::store::{Image, Store};
use crate::watch::watched;

/// How to pull.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// For the registry that the image names; never sent to a mirror.
    pub credentials: Option<Credentials>,
    /// Hosts to ask instead.
    pub mirrors: Mirrors,
    /// How hosts are reached that are no public ones.
    pub hosts: Hosts,
    /// Credentials by host, where none are given above; also a mirror's own.
    pub logins: Option<Logins>,
    /// Told of progress. Of callers that share a pull, only the first one's is.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

/// Pulls, questions and downloads in progress.
#[derive(Default)]
pub(crate) struct Flights {
    pulls: Flight<Image>,
    pub(crate) questions: Flight<Digest>,
    blobs: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Store {
    /// Asks the image's registry for it, fetches what is not here yet and makes it known under its
    /// name. Must run inside a tokio runtime. The work ends when all who asked for it have given up.
    ///
    /// # Errors
    /// [`Error::Unreachable`] within three seconds when the registry gives no first answer;
    /// [`Error::Registry`] when it says no; others when what it gives cannot be used.
    pub async fn pull(&self, reference: &Reference, options: PullOptions) -> Result<Image> {
        let (store, wanted) = (self.clone(), reference.clone());
        let key = flight_key(reference, &options);
        let work = |unwanted| async move { store.pull_alone(&wanted, &options, &unwanted).await };
        self.inner.flights.pulls.join(key, work).await
    }

    async fn pull_alone(
        &self,
        reference: &Reference,
        options: &PullOptions,
        unwanted: &Unwanted,
    ) -> Result<Image> {
        let registry = Registry::new(reference, options)?;
        let (checked, index) = unwanted
            .or(self.fetch_manifest(&registry, reference))
            .await?;
        let inner = self.inner.clone();
        let (busy, checked) = blocking(move || Ok((Busy::of(&inner, &checked), checked))).await?;
        let asked = Asked {
            name: reference,
            progress: options.progress.clone().unwrap_or_else(|| Arc::new(|_| {})),
            unwanted,
        };
        let installed = self
            .fetch_layers(Arc::new(registry), checked, index, &asked)
            .await;
        drop(busy);
        if installed.is_err() {
            let inner = self.inner.clone();
            blocking(move || inner.sweep()).await?;
        }
        installed?;
        let missing = || Error::BrokenOff("it was removed while it was pulled".to_string());
        self.resolve(reference).ok_or_else(missing)
    }

    async fn fetch_manifest(
        &self,
        registry: &Registry,
        reference: &Reference,
    ) -> Result<(Checked, Option<Digest>)> {
        let limits = &self.inner.limits;
        let received = registry
            .manifest(reference.version(), limits.manifest_bytes)
            .await?;
        let digest = Digest::of(&received.bytes);
        if let Some(wanted) = reference.digest() {
            check_digest("the manifest", wanted, digest)?;
        }
        match Document::parse(&received.bytes, received.media_type.as_deref(), limits)? {
            Document::Manifest(manifest) => Ok((
                self.fetch_config(registry, reference, received.bytes, *manifest)
                    .await?,
                None,
            )),
            Document::Index(entries) => {
                let image = self.fetch_among(registry, reference, entries, 1).await?;
                Ok((image, Some(digest)))
            }
        }
    }

    /// The image for this machine among an index's entries, which may lead to further indexes.
    fn fetch_among<'a>(
        &'a self,
        registry: &'a Registry,
        reference: &'a Reference,
        entries: Vec<Descriptor>,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Checked>> + Send + 'a>> {
        Box::pin(async move {
            let limit = self.inner.limits.index_depth;
            if depth > limit {
                let what = "the nesting of indexes".to_string();
                let limit = limit as u64;
                return Err(Error::Limit { what, limit });
            }
            let mut refused = None;
            for entry in candidates(&entries, Machine::own(), &reference.to_string())? {
                let led = self.fetch_entry(registry, reference, entry, depth).await;
                match led {
                    // It said nothing, or not the truth: another one may fit.
                    Err(error @ Error::Platform { .. }) => drop(refused.get_or_insert(error)),
                    led => return led,
                }
            }
            let empty = || Error::document("index", "it lists no image");
            Err(refused.unwrap_or_else(empty))
        })
    }

    async fn fetch_entry(
        &self,
        registry: &Registry,
        reference: &Reference,
        entry: &Descriptor,
        depth: usize,
    ) -> Result<Checked> {
        let limits = &self.inner.limits;
        let version = Version::Digest(entry.digest);
        let received = registry.manifest(&version, limits.manifest_bytes).await?;
        check_digest("the manifest", entry.digest, Digest::of(&received.bytes))?;
        let promised = Some(entry.media_type.as_str()).filter(|m| !m.is_empty());
        match Document::parse(&received.bytes, promised, limits)? {
            Document::Manifest(manifest) => {
                self.fetch_config(registry, reference, received.bytes, *manifest)
                    .await
            }
            Document::Index(entries) => {
                self.fetch_among(registry, reference, entries, depth + 1)
                    .await
            }
        }
    }

    async fn fetch_config(
        &self,
        registry: &Registry,
        reference: &Reference,
        json: Vec<u8>,
        manifest: Manifest,
    ) -> Result<Checked> {
        let limits = &self.inner.limits;
        let config = registry
            .small_blob(&manifest.config.digest, limits.config_bytes)
            .await?;
        Checked::new(&reference.to_string(), json, manifest, config)
    }

    async fn fetch_layers(
        &self,
        registry: Arc<Registry>,
        image: Checked,
        index: Option<Digest>,
        asked: &Asked<'_>,
    ) -> Result<()> {
        let missing = self.missing_layers(&image)?;
        let total = missing.iter().flatten().map(|layer| layer.size).sum();
        let received = Arc::new(Mutex::new(0));
        let (progress, unwanted) = (&asked.progress, asked.unwanted);
        let at_once = Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE));
        let mut downloads = tokio::task::JoinSet::new();
        let mut arrivals = Vec::new();
        for layer in missing.clone() {
            let (sender, arrival) = mpsc::sync_channel(1);
            arrivals.push(Mutex::new(arrival));
            let Some(layer) = layer else { continue };
            let (store, registry) = (self.clone(), registry.clone());
            let (at_once, progress) = (at_once.clone(), progress.clone());
            let (received, unwanted) = (received.clone(), unwanted.clone());
            downloads.spawn(async move {
                let _turn = at_once.acquire_owned().await;
                let told = |more: u64| {
                    let mut bytes = locked(&received);
                    *bytes += more;
                    progress(Progress::Received {
                        bytes: *bytes,
                        total: Some(total),
                    });
                };
                let downloaded = store.download(&registry, &layer, &told, &unwanted);
                let _ = sender.send(downloaded.await);
            });
        }
        let (store, names) = (self.clone(), vec![asked.name.clone()]);
        let (progress, unwanted) = (progress.clone(), unwanted.clone());
        let install = tokio::task::spawn_blocking(move || {
            let open = |at: usize| {
                let arrived = locked(&arrivals[at]).recv();
                arrived.unwrap_or_else(|_| Err(Error::BrokenOff("a download ended".to_string())))
            };
            let source = Source {
                open: &open,
                keeps_layers: false,
                from_registry: true,
            };
            let install = || {
                let inner = &store.inner;
                inner.install(image, &source, &names, index, &*progress)
            };
            watched(move || unwanted.why(), install)
        });
        let installed = install.await.map_err(|e| Error::BrokenOff(e.to_string()))?;
        downloads.abort_all();
        if installed.is_ok() {
            for layer in missing.iter().flatten() {
                self.inner
                    .files
                    .remove_file("partial", &layer.digest.hex())?;
            }
        }
        installed
    }

    /// For each layer, whether it must be fetched.
    fn missing_layers(&self, image: &Checked) -> Result<Vec<Option<Descriptor>>> {
        let limit = self.inner.limits.blob_bytes;
        let state = self.inner.state();
        let layers = image.chains().into_iter().zip(&image.manifest.layers);
        layers
            .map(|(chain, layer)| match state.chains.contains_key(&chain) {
                true => Ok(None),
                false if layer.size > limit => {
                    let what = format!("the size of layer {}", layer.digest);
                    Err(Error::Limit { what, limit })
                }
                false => Ok(Some(layer.clone())),
            })
            .collect()
    }

    /// Fetches one layer and checks it. Two pulls that share a layer fetch it once.
    async fn download(
        &self,
        registry: &Registry,
        layer: &Descriptor,
        received: &(dyn Fn(u64) + Sync),
        unwanted: &Unwanted,
    ) -> Result<File> {
        let turn = locked(&self.inner.flights.blobs)
            .entry(layer.digest)
            .or_default()
            .clone();
        let downloaded = async {
            let _held = unwanted.or(async { Ok(turn.lock().await) }).await?;
            self.download_alone(registry, layer, received, unwanted)
                .await
        };
        let downloaded = downloaded.await;
        let mut blobs = locked(&self.inner.flights.blobs);
        // The map's and ours: nobody else waits.
        if Arc::strong_count(&turn) == 2 {
            blobs.remove(&layer.digest);
        }
        downloaded
    }

    async fn download_alone(
        &self,
        registry: &Registry,
        layer: &Descriptor,
        received: &(dyn Fn(u64) + Sync),
        unwanted: &Unwanted,
    ) -> Result<File> {
        let path = self.inner.files.path("partial", &layer.digest.hex());
        let mut partial = {
            let path = path.clone();
            blocking(move || Partial::open(&path)).await?
        };
        received(partial.bytes.min(layer.size));
        let mut attempt = 0;
        while partial.bytes < layer.size {
            let before = partial.bytes;
            attempt += 1;
            match fetch_rest(registry, layer, partial, received, unwanted).await {
                (rest, Ok(())) => partial = rest?,
                // The line was cut: go on from there. Anything else will not get better.
                (rest, Err(error)) if error.is_unreachable() && attempt < DOWNLOAD_ATTEMPTS => {
                    tracing::debug!(error = error.detail(), attempt, "a download was cut");
                    partial = rest?;
                    if partial.bytes > before {
                        attempt = 0;
                    }
                    tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                }
                (_, Err(error)) => return Err(error),
            }
        }
        let (bytes, digest) = (partial.bytes, Digest::from_hasher(partial.hasher));
        if bytes != layer.size || digest != layer.digest {
            self.inner
                .files
                .remove_file("partial", &layer.digest.hex())?;
            return Err(Error::Mismatch {
                what: format!("a layer from registry {}", registry.host()),
                expected: format!("{} with {} bytes", layer.digest, layer.size),
                actual: format!("{digest} with {bytes} bytes"),
            });
        }
        let mut file = partial.file;
        file.seek(SeekFrom::Start(0)).at("read", &path)?;
        Ok(file)
    }
}

/// What a pull is for.
struct Asked<'a> {
    name: &'a Reference,
    progress: Arc<dyn Fn(Progress) + Send + Sync>,
    unwanted: &'a Unwanted,
}

/// What is there of a download.
struct Partial {
    file: File,
    hasher: Sha256,
    bytes: u64,
    /// What is written beyond is refused.
    bytes_max: u64,
}

impl Partial {
    /// Opens what an earlier attempt left, or starts a new file.
    fn open(path: &Path) -> Result<Self> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .at("open", path)?;
        let mut hasher = Sha256::new();
        let mut bytes = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).at("read", path)? {
                0 => {
                    return Ok(Self {
                        file,
                        hasher,
                        bytes,
                        bytes_max: bytes,
                    });
                }
                n => {
                    hasher.update(&buffer[..n]);
                    bytes += n as u64;
                }
            }
        }
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Sha256::new();
        self.bytes = 0;
        Ok(())
    }
}

impl Write for Partial {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes + piece.len() as u64 > self.bytes_max {
            return Err(io::Error::other("it is longer than its manifest says"));
        }
        self.file.write_all(piece)?;
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asks for what is missing and writes it as it comes. Gives back what is there then, also when
/// the line was cut in the middle.
async fn fetch_rest(
    registry: &Registry,
    layer: &Descriptor,
    mut partial: Partial,
    received: &(dyn Fn(u64) + Sync),
    unwanted: &Unwanted,
) -> (Result<Partial>, Result<()>) {
    let asked = unwanted.or(registry.blob(&layer.digest, partial.bytes));
    let mut response = match asked.await {
        Ok(response) => response,
        Err(error) => return (Ok(partial), Err(error)),
    };
    if let Err(error) = begin(registry, &response, &mut partial) {
        return (Ok(partial), Err(error));
    }
    let before = received_before(&response, layer);
    let wrapped = encoding::is_wrapped(&response, layer.size.saturating_sub(before));
    if wrapped && before > 0 {
        // Its parts are of what is compressed: it is all to be sent again.
        let restarted = partial.restart().at("write", "the download");
        let error = registry.unreachable("it sent a part of something compressed".into());
        return (restarted.map(|()| partial), Err(error));
    }
    partial.bytes_max = layer.size;
    // Hash and disk must not hold up the runtime's thread.
    let (sender, pieces) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
    let writer = tokio::task::spawn_blocking(move || {
        match encoding::unwrap_into(pieces, wrapped, &mut partial) {
            // What can be read of something compressed that was cut is not gone on with.
            Err(e) if wrapped && e.kind() == io::ErrorKind::UnexpectedEof => partial.restart(),
            written => written,
        }
        .at("write", "the download")?;
        Ok(partial)
    });
    let mut left = match wrapped {
        // Compressed in haste, what cannot be compressed grows by an eighth.
        true => layer.size.saturating_add(layer.size / 8 + 65_536),
        false => layer.size - before,
    };
    let fetched = loop {
        match unwanted.or(registry.piece(&mut response)).await {
            Ok(Some(piece)) => {
                let length = piece.len() as u64;
                if length > left {
                    break Err(Error::Limit {
                        what: format!("the size of layer {}", layer.digest),
                        limit: layer.size,
                    });
                }
                left -= length;
                received(length);
                if sender.send(piece).await.is_err() {
                    // The writer failed and tells why.
                    break Ok(());
                }
            }
            Ok(None) if left > 0 && !wrapped => {
                break Err(registry.unreachable("the download was cut".into()));
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    drop(sender);
    let written = writer.await.map_err(|e| Error::BrokenOff(e.to_string()));
    match written.and_then(|written| written) {
        Ok(partial) if fetched.is_ok() && partial.bytes < layer.size => {
            let error = registry.unreachable("the download was cut".into());
            (Ok(partial), Err(error))
        }
        Ok(partial) => (Ok(partial), fetched),
        Err(error) => (Err(error.clone()), Err(error)),
    }
}

/// Forgets what is there of a layer that is sent from the beginning.
fn begin(registry: &Registry, response: &Response, partial: &mut Partial) -> Result<()> {
    let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
    if is_part && starts_at(response, partial.bytes) {
        return Ok(());
    }
    partial.restart().at("write", "the download")?;
    match is_part {
        true => Err(registry.unreachable("it sent another part than was asked for".into())),
        // It does not do ranges and sends everything.
        false => Ok(()),
    }
}

/// Bytes that were there before this answer.
fn received_before(response: &Response, layer: &Descriptor) -> u64 {
    match response.status() {
        StatusCode::PARTIAL_CONTENT => range_start(response).unwrap_or_default().min(layer.size),
        _ => 0,
    }
}

fn starts_at(response: &Response, from: u64) -> bool {
    range_start(response) == Some(from)
}

/// `Content-Range: bytes START-END/TOTAL`
fn range_start(response: &Response) -> Option<u64> {
    let range = response
        .headers()
        .get(reqwest::header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    range
        .strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .parse()
        .ok()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::BrokenOff(e.to_string()))?
}

fn check_digest(what: &str, expected: Digest, actual: Digest) -> Result<()> {
    match expected == actual {
        true => Ok(()),
        false => Err(Error::Mismatch {
            what: what.to_string(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        }),
    }
}

/// Who may see an image is the registry's decision for these credentials, so that others do not
/// share the pull. Hashed: the key is not to be a place where a password lies about.
pub(crate) fn flight_key(reference: &Reference, options: &PullOptions) -> Digest {
    let mut hasher = Sha256::new();
    let credentials = options.credentials.as_ref();
    for part in [
        reference.to_string(),
        credentials.map(|c| c.username.clone()).unwrap_or_default(),
        credentials.map(|c| c.password.clone()).unwrap_or_default(),
        format!("{:?}", options.mirrors),
    ] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Digest::from_hasher(hasher)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
