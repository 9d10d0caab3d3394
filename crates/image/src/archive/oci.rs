//! OCI layouts: `index.json`, which leads to manifests by digest.

use super::members::Members;
use super::{Found, Given};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::install::Checked;
use crate::limits::Limits;
use crate::manifest::{Descriptor, Document};
use crate::platform::{Machine, candidates};
use crate::reference::Reference;

/// What an entry says that its image is called.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Called {
    Name(Reference),
    /// Many tools write only this.
    Tag(String),
    Nothing,
}

/// The images of a layout, and in words what was left out.
pub(super) fn images(
    members: &Members,
    given: &Given<'_>,
    limits: &Limits,
) -> Result<(Vec<Found>, Vec<String>)> {
    let json = members.read("index.json", limits.manifest_bytes)?;
    let Document::Index(entries) = Document::parse(&json, None, limits)? else {
        return Err(Error::document("index", "index.json is no index"));
    };
    let layout = Layout { members, limits };
    let mut found: Vec<Found> = Vec::new();
    let mut left_out = Vec::new();
    let mut refused = None;
    for (called, entries) in grouped(&entries)? {
        if entries.iter().all(Descriptor::is_beside_images) {
            let digests: Vec<String> = entries.iter().map(|e| e.digest.to_string()).collect();
            left_out.push(format!("{}: no image", digests.join(", ")));
            continue;
        }
        let shown = match &called {
            Called::Name(name) => name.to_string(),
            Called::Tag(tag) => format!("the image with tag {tag}"),
            Called::Nothing => "the image without a name".to_string(),
        };
        match layout.image(&entries, &shown, 0) {
            Ok((image, index)) => add(&mut found, called, (image, index), given)?,
            // What else the archive has can be used.
            Err(error @ Error::Platform { .. }) => {
                left_out.push(error.to_string());
                refused = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match (found.is_empty(), refused) {
        (false, _) => Ok((found, left_out)),
        (true, Some(error)) => Err(error),
        (true, None) => Err(Error::archive("its index.json lists no image")),
    }
}

/// The image of a folder as skopeo's transport `dir` writes it: a manifest under Docker's name for
/// its list, and blobs under their digits. Nothing where `manifest.json` is such a list.
pub(super) fn lone_image(
    members: &Members,
    given: &Given<'_>,
    limits: &Limits,
) -> Result<Option<Vec<Found>>> {
    let json = members.read("manifest.json", limits.manifest_bytes)?;
    if !json.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    let layout = Layout { members, limits };
    let (image, index) = layout.document(json, None, "the image", 0)?;
    let names = given.names(Vec::new(), &[])?;
    let found = Found {
        names,
        index,
        image,
    };
    Ok(Some(vec![found]))
}

fn add(
    found: &mut Vec<Found>,
    called: Called,
    (image, index): (Checked, Option<Digest>),
    given: &Given<'_>,
) -> Result<()> {
    let (names, tags) = match called {
        Called::Name(name) => (vec![name], Vec::new()),
        Called::Tag(tag) => (Vec::new(), vec![tag]),
        Called::Nothing => (Vec::new(), Vec::new()),
    };
    let names = given.names(names, &tags)?;
    let is_same = |f: &&mut Found| f.image.digest == image.digest && f.index == index;
    match found.iter_mut().find(is_same) {
        Some(same) => {
            same.names.extend(names);
            same.names.sort();
            same.names.dedup();
        }
        None => found.push(Found {
            names,
            index,
            image,
        }),
    }
    Ok(())
}

/// The entries of each image. Those with one name are one image for several platforms; those without
/// a name are, too, when each says its platform.
fn grouped(entries: &[Descriptor]) -> Result<Vec<(Called, Vec<Descriptor>)>> {
    let mut groups: Vec<(Called, Vec<Descriptor>)> = Vec::new();
    for entry in entries {
        let called = called(entry)?;
        let joins = |(other, entries): &&mut (Called, Vec<Descriptor>)| {
            let by_platform = |e: &Descriptor| e.platform.is_some() || e.is_beside_images();
            *other == called
                && match called {
                    Called::Nothing => entries.iter().chain([entry]).all(by_platform),
                    _ => true,
                }
        };
        match groups.iter_mut().find(joins) {
            Some((_, entries)) => entries.push(entry.clone()),
            None => groups.push((called, vec![entry.clone()])),
        }
    }
    Ok(groups)
}

/// Called by the annotation of containerd, which is always full, else by OCI's, which some tools
/// fill with a tag alone.
fn called(entry: &Descriptor) -> Result<Called> {
    if let Some(name) = entry.annotations.get("io.containerd.image.name") {
        return Ok(Called::Name(name.parse()?));
    }
    Ok(
        match entry.annotations.get("org.opencontainers.image.ref.name") {
            Some(name) if name.contains(['/', ':']) => Called::Name(name.parse()?),
            Some(tag) if !tag.is_empty() => Called::Tag(tag.clone()),
            _ => Called::Nothing,
        },
    )
}

struct Layout<'a> {
    members: &'a Members,
    limits: &'a Limits,
}

impl Layout<'_> {
    /// The image for this machine among entries, with the index that led to it if there was one.
    fn image(
        &self,
        entries: &[Descriptor],
        shown: &str,
        depth: usize,
    ) -> Result<(Checked, Option<Digest>)> {
        if depth > self.limits.index_depth {
            return Err(Error::Limit {
                what: "the nesting of indexes".to_string(),
                limit: self.limits.index_depth as u64,
            });
        }
        let mut refused = None;
        for entry in candidates(entries, Machine::own(), shown)? {
            match self.lead(entry, shown, depth) {
                // It said nothing, or not the truth: another one may fit.
                Err(error @ Error::Platform { .. }) => drop(refused.get_or_insert(error)),
                led => return led,
            }
        }
        Err(refused.unwrap_or_else(|| Error::archive("an index in it lists no image")))
    }

    fn lead(
        &self,
        entry: &Descriptor,
        shown: &str,
        depth: usize,
    ) -> Result<(Checked, Option<Digest>)> {
        let json = self.content(entry, self.limits.manifest_bytes)?;
        let promised = Some(entry.media_type.as_str()).filter(|m| !m.is_empty());
        self.document(json, promised, shown, depth)
    }

    fn document(
        &self,
        json: Vec<u8>,
        promised: Option<&str>,
        shown: &str,
        depth: usize,
    ) -> Result<(Checked, Option<Digest>)> {
        let limits = self.limits;
        match Document::parse(&json, promised, limits)? {
            Document::Index(entries) => {
                let (image, _) = self.image(&entries, shown, depth + 1)?;
                Ok((image, Some(Digest::of(&json))))
            }
            Document::Manifest(manifest) => {
                let config = self.content(&manifest.config, limits.config_bytes)?;
                Ok((Checked::new(shown, json, *manifest, config)?, None))
            }
        }
    }

    /// The bytes that a descriptor promises.
    fn content(&self, wanted: &Descriptor, bytes_max: u64) -> Result<Vec<u8>> {
        let hex = wanted.digest.hex();
        let name = match self.members.has(&hex) {
            true => hex,
            false => format!("blobs/sha256/{hex}"),
        };
        let bytes = self.members.read(&name, bytes_max)?;
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
}
