//! What the leader tells of itself in numbers.

use windlass_cluster::Census;
use windlass_store::Space;

/// Numbers of one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    pub census: Census,
    /// Of the store's disk; nothing when the kernel does not tell.
    pub space: Option<Space>,
    /// Turns that were committed, since the store was made.
    pub turns: u64,
    /// Calls that wait for a turn.
    pub calls_waiting: usize,
    /// Agents' messages that do.
    pub reports_waiting: usize,
}
