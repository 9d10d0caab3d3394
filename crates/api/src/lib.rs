//! The HTTP front door: signatures, routing by target, AWS JSON 1.1, paging.
//!
//! Where a call goes:
//! 1. [`serve`]: connections, their limits, graceful stop;
//! 2. `door`: one verifier before anything else (`sigv4`), then the service and operation that the
//!    signed request names;
//! 3. `ops/<operation>.rs`: one ECS operation each: decode, ask the leader, render; `windlass/`:
//!    what ECS has no operation for; `sts`: GetCallerIdentity.
//!
//! Not here: what is decided (`cluster`, through `server`), the words of AWS (`wire`).

pub mod caller;
mod door;
pub mod limits;
pub mod local;
mod ops;
mod page;
mod protocol;
mod reject;
mod serve;
mod sigv4;
mod sts;
mod windlass;

pub use caller::{AccessKey, Keys};
pub use serve::{Options, ServeError, serve};
