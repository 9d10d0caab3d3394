//! Container images on one machine: where they come from, and the folders they become.
//!
//! A [`Store`] is a folder of images by content. Images come in from archives
//! ([`Store::load_archive`]), from a folder ([`Store::import_rootfs`]) or from a registry
//! ([`Store::pull`]); [`Store::resolve`] finds one by name without asking anybody and gives an
//! [`Image`]: its configuration and the folders of its layers, ready to be the lower folders of an
//! overlayfs mount. [`Store::pin`] keeps an image while something runs from it.
//!
//! What comes in may be hostile. The rules, and where they are kept:
//!
//! - names and digests have one strict grammar each (`reference`, `digest`);
//! - everything has a limit (`limits`), and is streamed, not held in memory;
//! - bytes are believed only when their digest matches, compressed and uncompressed (`install`);
//! - a layer's names are walked by descriptors inside its own folder, never joined to a path of
//!   this machine (`unpack`, `lowers`), from entries that are read in one way only (`entries`);
//! - a registry cannot send credentials, or this machine, elsewhere (`registry`, `endpoint`).
//!
//! What is on disk, and why a crash leaves each image whole or absent, is told in `files`. Loading,
//! importing and removing block; callers on an async runtime use its blocking threads. Pulling is
//! async and needs tokio.
//!
//! Elsewhere: mounting and users of an image's files (the runtime), choosing when to pull (the
//! agent), credentials of registries (the agent).

mod archive;
mod attributes;
mod collect;
mod config;
mod content;
mod digest;
mod endpoint;
mod entries;
mod error;
mod files;
mod flight;
mod folder;
mod freshness;
mod holes;
mod hosts;
mod inflate;
mod install;
mod limits;
mod logins;
mod lowers;
mod manifest;
mod name;
mod platform;
mod pull;
mod reference;
mod registry;
mod roomy;
mod select;
mod sparse;
mod state;
mod store;
mod unpack;
mod usage;
mod watch;

pub use archive::{LoadOptions, Loaded, LoadedArchive};
pub use collect::{Collected, Pruned};
pub use config::{ExposedPort, ImageConfig, Protocol, signal_number};
pub use content::Content;
pub use digest::{BadDigest, Digest};
pub use endpoint::{Credentials, Mirrors};
pub use error::{Error, Result};
pub use hosts::Hosts;
pub use install::{Progress, ProgressFn};
pub use limits::Limits;
pub use logins::Logins;
pub use name::NewName;
pub use pull::PullOptions;
pub use reference::{BadReference, DEFAULT_REGISTRY, Reference, Version, registry_host};
pub use registry::check_login;
pub use store::{Image, Listed, Pin, Store};
pub use usage::{Share, Usage};
pub use watch::watched;
