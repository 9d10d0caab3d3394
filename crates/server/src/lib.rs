//! The leader: one thread that owns a region's state, decides for it, and makes every decision
//! durable before anyone hears of it.
//!
//! Scope: the turn ([`leader`]), its inbox ([`inbox`]), time ([`clock`]) and the sessions with
//! agents ([`sessions`]). Not here: what is decided (`cluster`), what is on disk (`store`), what the
//! wire says (`api`).
//!
//! [`Handle`] is what everything else holds: it asks, and it opens agent sessions. Only the leader
//! commits.

pub mod clock;
mod dispatch;
mod figures;
mod gathered;
mod inbox;
mod leader;
pub mod limits;
mod room;
mod sessions;

pub use figures::Figures;
pub use leader::{Handle, Leader, Options, Refused, Stopped};
pub use sessions::SessionEnd;
pub use windlass_store::Snapshot;
