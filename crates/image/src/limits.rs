//! Every limit on what comes from outside, in one place.

/// What an image may make this machine do. All of it can be set, so that tests reach each limit
/// with small inputs; [`Limits::default`] is what runs in production.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a manifest or index. The value of the distribution specification.
    pub manifest_bytes: u64,
    /// Bytes of an image configuration.
    pub config_bytes: u64,
    /// Layers of one image.
    pub layers: usize,
    /// Descriptors in one index.
    pub index_entries: usize,
    /// Indexes inside indexes.
    pub index_depth: usize,
    /// Bytes of one archive or of one compressed layer.
    pub blob_bytes: u64,
    /// Members of one archive.
    pub archive_members: u64,
    /// Uncompressed bytes of all layers of one image.
    pub image_bytes: u64,
    /// How long an image that was asked for by digest stays without anything that uses it.
    pub by_digest_kept: std::time::Duration,
    /// Files, links and folders of all layers of one image.
    pub image_entries: u64,
    /// Bytes that stay free on the store's disk. However well a layer compresses, it is taken as
    /// long as there is room.
    pub disk_reserve_bytes: u64,
    /// Bytes of one path or link target in a layer.
    pub path_bytes: usize,
    /// Bytes of one extension header (PAX or GNU long name) in a layer.
    pub extension_bytes: u64,
    /// Base-two logarithm of the largest zstd window: 27 is 128 MiB.
    pub zstd_window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            config_bytes: 8 << 20,
            layers: 500,
            index_entries: 1_000,
            index_depth: 4,
            blob_bytes: 32 << 30,
            archive_members: 10_000,
            image_bytes: 64 << 30,
            by_digest_kept: std::time::Duration::from_secs(24 * 60 * 60),
            image_entries: 4_000_000,
            disk_reserve_bytes: 256 << 20,
            path_bytes: 4_096,
            extension_bytes: 1 << 20,
            zstd_window_log: 27,
        }
    }
}

/// Bytes that are written between two looks at how much room the disk has.
pub(crate) const BYTES_BETWEEN_LOOKS: u64 = 64 << 20;
/// Layers fetched from a registry at once.
pub(crate) const DOWNLOADS_AT_ONCE: usize = 3;
/// How often in a row a download that was cut may bring nothing before the pull fails.
pub(crate) const DOWNLOAD_ATTEMPTS: u32 = 5;
/// How long connecting to a registry may take, name resolution included.
pub(crate) const CONNECT: std::time::Duration = std::time::Duration::from_millis(2_800);
/// How long a registry may take to give its first answer.
pub(crate) const FIRST_ANSWER: std::time::Duration = std::time::Duration::from_secs(15);
/// After so long a registry that cannot be reached is not tried again.
pub(crate) const UNREACHABLE_ALL: std::time::Duration = std::time::Duration::from_secs(15);
/// The longest pause that a registry may ask for; where it wants more, the pull fails.
pub(crate) const RETRY_AFTER_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// How long a registry may say nothing about a tag of which a copy is here.
pub(crate) const FRESHNESS_SILENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// How long all answers together may take until the copy is started from.
pub(crate) const FRESHNESS_ALL: std::time::Duration = std::time::Duration::from_secs(8);
/// How long any later answer, or one piece of a body, may take.
pub(crate) const NEXT_ANSWER: std::time::Duration = std::time::Duration::from_secs(30);
/// Bytes of a token server's answer.
pub(crate) const TOKEN_BYTES: u64 = 256 << 10;
/// Bytes of a registry's error text that are read.
pub(crate) const ERROR_BODY_BYTES: u64 = 16 << 10;
/// Redirects followed for one blob.
pub(crate) const REDIRECTS: usize = 5;
/// How long a download that was cut waits for somebody to go on with it.
pub(crate) const PARTIAL_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
