//! Writes layers and archives byte by byte, so that they can be wrong in every way.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use windlass_image::{Image, LoadOptions, Loaded, Reference, Result, Store};

#[derive(Clone, Default)]
pub(crate) struct Tar(Vec<u8>);

/// One header as it is to be written; [`Tar::entry`] adds the checksum.
#[derive(Clone)]
pub(crate) struct Header<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: u8,
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) size: u64,
    pub(crate) mtime: u64,
}

impl Default for Header<'_> {
    fn default() -> Self {
        Self {
            name: b"x",
            kind: b'0',
            link: b"",
            mode: 0o644,
            uid: 0,
            size: 0,
            mtime: 1_000_000,
        }
    }
}

impl Tar {
    pub(crate) fn entry(mut self, header: &Header<'_>, content: &[u8]) -> Self {
        let mut block = [0u8; 512];
        let name = &header.name[..header.name.len().min(100)];
        block[..name.len()].copy_from_slice(name);
        block[100..108].copy_from_slice(format!("{:07o}\0", header.mode).as_bytes());
        block[108..116].copy_from_slice(&number::<8>(header.uid));
        block[116..124].copy_from_slice(&number::<8>(0));
        block[124..136].copy_from_slice(&number::<12>(header.size));
        block[136..148].copy_from_slice(&number::<12>(header.mtime));
        block[148..156].fill(b' ');
        block[156] = header.kind;
        let link = &header.link[..header.link.len().min(100)];
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u64 = block.iter().map(|&b| u64::from(b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.bytes(content)
    }

    /// Content and its padding.
    pub(crate) fn bytes(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        let header = Header {
            name: name.as_bytes(),
            size: content.len() as u64,
            ..Header::default()
        };
        self.entry(&header, content.as_bytes())
    }

    pub(crate) fn folder(self, name: &str, mode: u32) -> Self {
        self.entry(
            &Header {
                name: name.as_bytes(),
                kind: b'5',
                mode,
                ..Header::default()
            },
            b"",
        )
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.kind(b'2', name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.kind(b'1', name, target)
    }

    pub(crate) fn kind(self, kind: u8, name: &str, link: &str) -> Self {
        let (name, link) = (name.as_bytes(), link.as_bytes());
        self.entry(
            &Header {
                name,
                kind,
                link,
                ..Header::default()
            },
            b"",
        )
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extended(b'x', records)
    }

    pub(crate) fn extended(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let mut length = rest.len() + 1;
            while length != rest.len() + length.to_string().len() {
                length += 1;
            }
            body.extend_from_slice(length.to_string().as_bytes());
            body.extend_from_slice(&rest);
        }
        self.raw_extended(kind, &body)
    }

    pub(crate) fn raw_extended(self, kind: u8, body: &[u8]) -> Self {
        let size = body.len() as u64;
        self.entry(
            &Header {
                name: b"ext",
                kind,
                size,
                ..Header::default()
            },
            body,
        )
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    /// Without the mark at the end.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.0
    }
}

/// Octal if it fits, else GNU's binary form.
fn number<const N: usize>(value: u64) -> [u8; N] {
    let octal = format!("{value:0width$o}\0", width = N - 1);
    match octal.len() == N {
        true => octal.into_bytes().try_into().unwrap(),
        false => {
            let mut field = [0; N];
            let start = N.saturating_sub(8);
            let bytes = value.to_be_bytes();
            field[start..].copy_from_slice(&bytes[8 - (N - start)..]);
            field[0] |= 0x80;
            field
        }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(crate) fn config(layers: &[Vec<u8>]) -> String {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(&plain(layer))).collect();
    serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Cmd": ["run"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
}

fn plain(layer: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    match layer {
        [0x1f, 0x8b, ..] => {
            flate2::read::MultiGzDecoder::new(layer)
                .read_to_end(&mut bytes)
                .unwrap();
        }
        [0x28, 0xb5, ..] => bytes = zstd::decode_all(layer).unwrap(),
        _ => bytes = layer.to_vec(),
    }
    bytes
}

/// What `docker save` writes.
pub(crate) fn docker_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    docker_archive_with(name, layers, &config(layers))
}

pub(crate) fn docker_archive_with(name: &str, layers: &[Vec<u8>], config: &str) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut names = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let member = format!("{at}/layer.tar");
        let header = Header {
            name: member.as_bytes(),
            size: layer.len() as u64,
            ..Header::default()
        };
        tar = tar.entry(&header, layer);
        names.push(member);
    }
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": names}]);
    tar.file("config.json", config)
        .file("manifest.json", &manifest.to_string())
        .end()
}

/// An OCI layout in a tar.
pub(crate) fn oci_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let descriptor = |media: &str, bytes: &[u8]| {
        let media = format!("application/vnd.oci.image.{media}");
        serde_json::json!({"mediaType": media, "digest": digest(bytes), "size": bytes.len()})
    };
    let config = config(layers);
    let layer_list: Vec<_> = layers
        .iter()
        .map(|l| descriptor("layer.v1.tar", l))
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config.as_bytes()), "layers": layer_list,
    })
    .to_string();
    let mut entry = descriptor("manifest.v1+json", manifest.as_bytes());
    entry["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": name});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let mut tar = Tar::default();
    for bytes in layers
        .iter()
        .map(Vec::as_slice)
        .chain([config.as_bytes(), manifest.as_bytes()])
    {
        let name = format!("blobs/sha256/{}", &digest(bytes)[7..]);
        let header = Header {
            name: name.as_bytes(),
            size: bytes.len() as u64,
            ..Header::default()
        };
        tar = tar.entry(&header, bytes);
    }
    tar.file("index.json", &index)
        .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .end()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

pub(crate) fn load(store: &Store, archive: &[u8]) -> Result<Vec<Loaded>> {
    let loaded = store.load_archive(archive, &LoadOptions::default(), &|_| {})?;
    Ok(loaded.images)
}

/// A store in its own folder, with a neighbour that nothing may touch.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(windlass_image::Limits::default())
    }

    pub(crate) fn with(limits: windlass_image::Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("outside")).unwrap();
        std::fs::write(folder.path().join("outside/canary"), "untouched").unwrap();
        let store = Store::open_with(&folder.path().join("store"), limits).unwrap();
        Self { folder, store }
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    pub(crate) fn load_layers(&self, layers: &[Vec<u8>]) -> Result<Image> {
        load(&self.store, &docker_archive("test:1", layers))?;
        Ok(self.store.resolve(&name("test:1")).unwrap())
    }

    pub(crate) fn assert_outside_untouched(&self, case: &str) {
        let outside = self.outside();
        assert_eq!(names(&outside), ["canary"], "{case}");
        assert_eq!(
            std::fs::read(outside.join("canary")).unwrap(),
            b"untouched",
            "{case}"
        );
        use std::os::unix::fs::MetadataExt as _;
        let meta = std::fs::metadata(outside.join("canary")).unwrap();
        assert_eq!(
            (meta.nlink(), meta.uid(), meta.mode() & 0o777),
            (1, 0, 0o644),
            "{case}"
        );
    }

    /// Nothing of an image that was refused stays behind.
    pub(crate) fn assert_empty(&self, case: &str) {
        for folder in ["blobs", "layers", "chains", "images", "names", "tmp"] {
            let left = names(&self.folder.path().join("store").join(folder));
            assert!(left.is_empty(), "{case}: {folder} still has {left:?}");
        }
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
