//! wip
mod archive;
mod config;
mod digest;
mod entries;
mod error;
mod files;
mod inflate;
mod install;
mod limits;
mod lowers;
mod manifest;
mod pull;
mod reference;
mod registry;
mod store;
mod unpack;

pub use archive::{LoadOptions, Loaded};
pub use config::{ExposedPort, ImageConfig, Protocol, signal_number};
pub use digest::{BadDigest, Digest};
pub use error::{Error, Result};
pub use install::{Progress, ProgressFn};
pub use limits::Limits;
pub use pull::PullOptions;
pub use reference::{BadReference, DEFAULT_REGISTRY, Reference, Version};
pub use registry::{Credentials, Mirrors};
pub use store::{Collected, Image, Listed, Pin, Store};
