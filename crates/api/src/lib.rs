//! The HTTP front door: signatures, routing by target, AWS JSON 1.1, paging.
//!
//! Where a call goes:
//! 1. [`serve`]: connections and their graceful stop; `connection`: how long each may stay;
//!    `places`: who goes when there are too many;
//! 2. `door`: one verifier before anything else (`sigv4`), then the service and operation that the
//!    signed request names;
//! 3. `ops/<operation>.rs`: one ECS operation each: decode, ask the leader, render; `windlass/`:
//!    what ECS has no operation for; `sts`: GetCallerIdentity;
//! 4. `revocation`: what lasts ends with the key that asked for it.
//!
//! Without a signature, on loopback alone: `unsigned`, health and metrics.
//!
//! Not here: what is decided (`cluster`, through `server`), the words of AWS (`wire`).

mod caller;
mod connection;
mod door;
mod keys;
pub mod limits;
pub mod local;
mod metrics;
mod ops;
mod page;
mod places;
mod protocol;
mod reject;
mod revocation;
mod serve;
mod sigv4;
mod sts;
mod unsigned;
mod windlass;

pub use keys::{AccessKey, Keeper, Keys};
pub use limits::UploadPace;
pub use serve::{Options, ServeError, serve};
