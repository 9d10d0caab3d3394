//! Manifests and indexes: the documents that lead from a name to configuration and layers.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::platform::Platform;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Everything that is read, for the Accept header.
pub(crate) const ACCEPTED: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX];

/// What stands for an image's configuration in a manifest's `artifactType`.
const IMAGE_CONFIGS: [&str; 2] = [OCI_CONFIG, "application/vnd.docker.container.image.v1+json"];

/// Points to a document or layer by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, deserialize_with = "or_default")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_string(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            artifact_type: None,
        }
    }

    /// Whether it says of itself that it is no image but speaks of one, as attestations and
    /// signatures do.
    pub(crate) fn is_beside_images(&self) -> bool {
        let is_unknown = |p: &Platform| p.os == "unknown" || p.architecture == "unknown";
        let is_artifact =
            |artifact: &String| !artifact.is_empty() && !IMAGE_CONFIGS.contains(&artifact.as_str());
        let is_document = self.media_type.is_empty() || ACCEPTED.contains(&&*self.media_type);
        !is_document
            || self.platform.as_ref().is_some_and(is_unknown)
            || self.artifact_type.as_ref().is_some_and(is_artifact)
            || self.annotations.contains_key("vnd.docker.reference.type")
    }
}

/// Entries under digests of another kind stand beside those that are read; they are not followed.
fn descriptors<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Descriptor>, D::Error> {
    let entries = Option::<Vec<Value>>::deserialize(from)?.unwrap_or_default();
    let is_other = |entry: &Value| {
        let digest = entry.get("digest").and_then(Value::as_str);
        let algorithm = digest.and_then(|digest| digest.split_once(':'));
        algorithm.is_some_and(|(algorithm, _)| matches!(algorithm, "sha384" | "sha512"))
    };
    let followed = entries.into_iter().filter(|entry| !is_other(entry));
    followed
        .map(|entry| serde_json::from_value(entry).map_err(serde::de::Error::custom))
        .collect()
}

/// Go writes an empty list or map as `null`.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// What a document turned out to be.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    Manifest(Box<Manifest>),
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
    schema_version: Option<u32>,
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Value>,
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
    /// the document must be of that kind, lest one digest be read in two ways.
    pub(crate) fn parse(json: &[u8], promised: Option<&str>, limits: &Limits) -> Result<Self> {
        let bad = |reason: String| Error::document("manifest", reason);
        let raw: Raw = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
        if raw.schema_version.is_some_and(|version| version != 2) {
            let why = "its schema version is not 2; save or push the image again with a current \
                       tool";
            return Err(bad(why.to_string()));
        }
        let own = Some(raw.media_type.as_str()).filter(|own| !own.is_empty());
        let mut says_index = false;
        for media_type in promised.into_iter().chain(own) {
            let is_index = matches!(media_type, OCI_INDEX | DOCKER_INDEX);
            says_index |= is_index;
            let fits = match media_type {
                _ if is_index => raw.config.is_none(),
                OCI_MANIFEST | DOCKER_MANIFEST => raw.config.is_some(),
                _ => false,
            };
            if !fits {
                let shown: String = media_type.chars().take(100).collect();
                return Err(bad(format!("it is no {shown:?}")));
            }
        }
        match (raw.config, raw.layers, raw.manifests) {
            (Some(config), layers, None) => {
                let layers = layers.unwrap_or_default();
                check_count("the number of layers", layers.len(), limits.layers)?;
                Ok(Self::Manifest(Box::new(Manifest::new(config, layers))))
            }
            (None, None, None) if says_index => Ok(Self::Index(Vec::new())),
            (None, None, Some(manifests)) => {
                let count = manifests.as_array().map_or(0, Vec::len);
                check_count("the number of index entries", count, limits.index_entries)?;
                let manifests = descriptors(manifests).map_err(|e| bad(e.to_string()))?;
                Ok(Self::Index(manifests))
            }
            _ => Err(bad(
                "it is neither a manifest nor an index, or both at once".to_string(),
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
            // Both say what kind it is, and agree in that.
            (&typed, Some(OCI_MANIFEST), true),
            (&typed, Some(DOCKER_INDEX), false),
        ] {
            assert_eq!(
                parse(json, promised).is_ok(),
                good,
                "{json} as {promised:?}"
            );
        }
    }

    /// What tools in Go write for nothing, and what they leave out.
    #[test]
    fn nulls_and_omissions() {
        let entry =
            r#"{"mediaType":null,"digest":"$D","size":1,"annotations":null,"platform":null}"#;
        let other = format!(r#"{{"digest":"sha512:{}","size":1}}"#, "0".repeat(128));
        let index = |json: String, promised| match parse(&json, promised).expect(&json) {
            Document::Index(entries) => entries.len(),
            Document::Manifest(_) => panic!("{json} is a manifest"),
        };
        let listed = format!(r#"{{"schemaVersion":2,"manifests":[{other},{entry}]}}"#);
        assert_eq!(index(listed, None), 1);
        let empty = r#"{"schemaVersion":2,"manifests":null}"#;
        assert_eq!(index(empty.into(), Some(OCI_INDEX)), 0);
        let manifest = format!(r#"{{"mediaType":"",{CONFIG},"layers":null,"annotations":null}}"#);
        assert!(matches!(parse(&manifest, None), Ok(Document::Manifest(_))));
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
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:../x","size":1}]}"#.into(),
            r#"{"schemaVersion":2,"manifests":null}"#.into(),
        ] {
            assert!(parse(&json, None).is_err(), "{json}");
        }
    }
}
