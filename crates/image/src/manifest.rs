//! Manifests and indexes: the documents that lead from a name to configuration and layers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::Limits;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Everything that is read, for the Accept header.
pub(crate) const ACCEPTED: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX];

/// Points to a document or layer by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
}

/// What a document turned out to be.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

/// Configuration and layers of one image for one platform, the lowest layer first.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Manifest {
    pub(crate) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            config,
            layers,
        }
    }
}

impl Document {
    /// Reads a document. `promised` is the media type of the descriptor or header that led here;
    /// the document must agree with it, lest one digest be read in two ways.
    pub(crate) fn parse(json: &[u8], promised: Option<&str>, limits: &Limits) -> Result<Self> {
        let bad = |reason: &str| Error::document("manifest", reason);
        let raw: Raw =
            serde_json::from_slice(json).map_err(|e| Error::document("manifest", e.to_string()))?;
        if raw.schema_version != 2 {
            return Err(bad(
                "its schema version is not 2; save or push the image again with a \
                 current tool",
            ));
        }
        for media_type in promised.into_iter().chain(raw.media_type.as_deref()) {
            let fits = match media_type {
                OCI_INDEX | DOCKER_INDEX => raw.manifests.is_some(),
                OCI_MANIFEST | DOCKER_MANIFEST => raw.config.is_some() && raw.layers.is_some(),
                _ => false,
            };
            if !fits {
                let shown: String = media_type.chars().take(100).collect();
                return Err(Error::document("manifest", format!("it is no {shown:?}")));
            }
        }
        if let (Some(promised), Some(own)) = (promised, raw.media_type.as_deref())
            && promised != own
        {
            return Err(bad(
                "its media type differs from the one it was announced with",
            ));
        }
        match (raw.config, raw.layers, raw.manifests) {
            (Some(config), Some(layers), None) => {
                check_count("the number of layers", layers.len(), limits.layers)?;
                Ok(Self::Manifest(Manifest::new(config, layers)))
            }
            (None, None, Some(manifests)) => {
                check_count(
                    "the number of index entries",
                    manifests.len(),
                    limits.index_entries,
                )?;
                Ok(Self::Index(manifests))
            }
            _ => Err(bad(
                "it is neither a manifest nor an index, or both at once",
            )),
        }
    }
}

fn check_count(what: &str, count: usize, limit: usize) -> Result<()> {
    match count > limit {
        true => Err(Error::Limit {
            what: what.to_string(),
            limit: limit as u64,
        }),
        false => Ok(()),
    }
}

/// This machine's architecture, as images name it.
pub(crate) fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The entry of an index for this machine.
pub(crate) fn select<'a>(entries: &'a [Descriptor], image: &str) -> Result<&'a Descriptor> {
    let platform = |d: &Descriptor| d.platform.clone();
    entries
        .iter()
        .find(|d| {
            platform(d).is_some_and(|p| p.os == "linux" && p.architecture == own_architecture())
        })
        // An index of one image need not name its platform; the configuration is checked later.
        .or_else(|| {
            entries
                .first()
                .filter(|d| entries.len() == 1 && d.platform.is_none())
        })
        .ok_or_else(|| {
            let mut found: Vec<String> = entries
                .iter()
                .filter_map(platform)
                // Attestations travel as entries of an unknown platform.
                .filter(|p| p.os != "unknown")
                .take(20)
                .map(|p| {
                    format!(
                        "{}/{}",
                        p.os.escape_default(),
                        p.architecture.escape_default()
                    )
                })
                .collect();
            found.dedup();
            Error::Platform {
                image: image.to_string(),
                wanted: own_architecture().to_string(),
                found: if found.is_empty() {
                    "none".to_string()
                } else {
                    found.join(", ")
                },
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    fn parse(json: &str, promised: Option<&str>) -> Result<Document> {
        let json = json.replace("$D", D);
        Document::parse(
            json.as_bytes(),
            promised,
            &Limits {
                layers: 2,
                ..Limits::default()
            },
        )
    }

    const CONFIG: &str = r#""config":{"mediaType":"x","digest":"$D","size":1}"#;
    const LAYER: &str = r#"{"mediaType":"x","digest":"$D","size":1}"#;

    #[test]
    fn one_digest_is_one_kind_of_document() {
        let manifest = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[{LAYER}]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{LAYER}]}}"#);
        let both = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[],"manifests":[{LAYER}]}}"#);
        let typed = format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}",{CONFIG},"layers":[]}}"#
        );
        for (json, promised, good) in [
            (&manifest, None, true),
            (&manifest, Some(OCI_MANIFEST), true),
            (&manifest, Some(OCI_INDEX), false),
            (&manifest, Some("text/html"), false),
            (&index, Some(OCI_INDEX), true),
            (&index, Some(OCI_MANIFEST), false),
            (&both, None, false),
            (&both, Some(OCI_MANIFEST), false),
            (&typed, Some(DOCKER_MANIFEST), true),
            (&typed, Some(OCI_MANIFEST), false),
        ] {
            assert_eq!(
                parse(json, promised).is_ok(),
                good,
                "{json} as {promised:?}"
            );
        }
    }

    #[test]
    fn what_is_refused() {
        let layers = [LAYER; 3].join(",");
        for json in [
            "{}".to_string(),
            "[]".to_string(),
            format!(r#"{{"schemaVersion":1,{CONFIG},"layers":[]}}"#),
            format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[{layers}]}}"#),
            r#"{"schemaVersion":2,"config":{"digest":"sha256:../x","size":1},"layers":[]}"#.into(),
            r#"{"schemaVersion":2,"config":{"digest":"$D","size":-1},"layers":[]}"#.into(),
        ] {
            assert!(parse(&json, None).is_err(), "{json}");
        }
    }
}
