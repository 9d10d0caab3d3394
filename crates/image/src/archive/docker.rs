//! What `docker save` and `podman save` write: `manifest.json` with names and members.

use serde::Deserialize;

use super::members::{Content, Members};
use super::{Found, Given, assemble};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::manifest::{Descriptor, OCI_LAYER, or_default};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<String>,
}

/// The images that an archive of Docker's form holds.
pub(super) fn images(members: &Members, given: &Given<'_>, limits: &Limits) -> Result<Vec<Found>> {
    let json = members.read("manifest.json", limits.manifest_bytes)?;
    let saved: Vec<Saved> =
        serde_json::from_slice(&json).map_err(|e| Error::document("manifest", e.to_string()))?;
    if saved.is_empty() {
        return Err(Error::archive("its manifest.json lists no image"));
    }
    saved
        .iter()
        .map(|saved| image(members, saved, given, limits))
        .collect()
}

fn image(members: &Members, saved: &Saved, given: &Given<'_>, limits: &Limits) -> Result<Found> {
    if saved.layers.len() > limits.layers {
        return Err(Error::Limit {
            what: "the number of layers".to_string(),
            limit: limits.layers as u64,
        });
    }
    let config = members.read(&saved.config, limits.config_bytes)?;
    let mut layers = Vec::new();
    for layer in &saved.layers {
        let (digest, content) = members.find(layer)?;
        layers.push(Descriptor::new(media_type(content), digest, content.bytes));
    }
    // Docker of old wrote this for an image without a name.
    let tags = saved.repo_tags.iter().filter(|tag| !tag.contains("<none>"));
    let mut names = Vec::new();
    for tag in tags {
        names.push(tag.parse()?);
    }
    let shown = names
        .first()
        .map_or(saved.config.clone(), ToString::to_string);
    let image = assemble(&shown, config, layers)?;
    Ok(Found {
        names: given.names(names, &[])?,
        index: None,
        image,
    })
}

fn media_type(content: &Content) -> &'static str {
    match content.start() {
        [0x1f, 0x8b, ..] => "application/vnd.oci.image.layer.v1.tar+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => OCI_LAYER,
    }
}
