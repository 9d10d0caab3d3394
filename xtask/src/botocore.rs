//! Reads botocore's description of the ECS API: operations and shapes, in the order it lists them.
//!
//! Documentation texts are not read at all, so that none of them can reach a generated file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use sha2::{Digest, Sha256};

/// The model file with what names it: botocore's version and the hash of the compressed bytes.
pub(crate) struct Source {
    pub(crate) model: Model,
    pub(crate) version: String,
    pub(crate) sha256: String,
}

#[derive(Deserialize)]
pub(crate) struct Model {
    pub(crate) metadata: Metadata,
    pub(crate) operations: BTreeMap<String, Operation>,
    pub(crate) shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) target_prefix: String,
}

#[derive(Deserialize)]
pub(crate) struct Operation {
    pub(crate) input: Reference,
    pub(crate) output: Reference,
    #[serde(default)]
    pub(crate) errors: Vec<Reference>,
    #[serde(default, rename = "readonly")]
    pub(crate) read_only: bool,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Reference {
    pub(crate) shape: String,
}

#[derive(Deserialize)]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) members: Ordered<Reference>,
    #[serde(default)]
    pub(crate) required: Vec<String>,
    #[serde(default, rename = "enum")]
    pub(crate) values: Vec<String>,
    pub(crate) member: Option<Reference>,
    pub(crate) key: Option<Reference>,
    pub(crate) value: Option<Reference>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) pattern: Option<String>,
    #[serde(default)]
    pub(crate) union: bool,
    #[serde(default)]
    pub(crate) document: bool,
}

/// A JSON object in the order of the file: members of a structure are written in that order.
pub(crate) struct Ordered<T>(pub(crate) Vec<(String, T)>);

impl Source {
    /// Reads `path`, or the model that `scripts/botocore.sh` installs when there is none.
    pub(crate) fn load(root: &Path, path: Option<&Path>) -> Result<Self> {
        let path = match path {
            Some(path) => path.to_path_buf(),
            None => install(root)?,
        };
        let packed = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_string(&mut text)
            .with_context(|| format!("unpack {}", path.display()))?;
        let model =
            serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        let version = version_of(&path)?;
        let pinned = pin(root)?;
        ensure!(
            version == pinned,
            "the model is of botocore {version} but scripts/botocore.txt pins {pinned}: run \
             scripts/botocore.sh and use the path it prints"
        );
        Ok(Self {
            model,
            version,
            sha256: hex::encode(Sha256::digest(&packed)),
        })
    }
}

impl Model {
    pub(crate) fn shape(&self, name: &str) -> Result<&Shape> {
        self.shapes
            .get(name)
            .with_context(|| format!("the model has no shape {name}"))
    }
}

fn install(root: &Path) -> Result<PathBuf> {
    let script = root.join("scripts/botocore.sh");
    let output = Command::new(&script)
        .output()
        .with_context(|| format!("run {}", script.display()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            script.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let printed = String::from_utf8(output.stdout).context("path of the botocore model")?;
    Ok(PathBuf::from(printed.trim()))
}

/// botocore's `__version__`, from the package that the model file lies in.
fn version_of(model: &Path) -> Result<String> {
    let package = model
        .ancestors()
        .nth(4)
        .context("the model is not inside a botocore package")?;
    let init = package.join("__init__.py");
    let text =
        std::fs::read_to_string(&init).with_context(|| format!("read {}", init.display()))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("__version__ = "));
    let line = line.with_context(|| format!("{} has no __version__", init.display()))?;
    Ok(line.trim_matches(['\'', '"', ' ']).to_owned())
}

fn pin(root: &Path) -> Result<String> {
    let path = root.join("scripts/botocore.txt");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let pin = text
        .lines()
        .find_map(|line| line.strip_prefix("botocore=="));
    Ok(pin
        .with_context(|| format!("{} pins no botocore", path.display()))?
        .trim()
        .to_owned())
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}
