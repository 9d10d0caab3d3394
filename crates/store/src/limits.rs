//! Every bound of the store, in one place.

use crate::Limits;

/// Rows of one batch. A thousand rows already amortise the sync; more only adds latency.
pub const BATCH_ROWS_MAX: usize = 4_096;

/// Records of history in one batch.
pub const BATCH_HISTORY_MAX: usize = 4_096;

/// Bytes of one batch: one memtable, so that a batch never forces two flushes.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// Bytes of a key or a subject.
pub const KEY_BYTES_MAX: usize = 1_024;

/// Bytes of a value or a record of history.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Bytes of one part of a value on disk. A part must not be able to hold a whole page of the page
/// cache: a page lost by a power cut is then always seen as a torn tail, never as damage.
pub(crate) const PART_BYTES_MAX: usize = 3_500;

/// Bytes of a backup's label.
pub const LABEL_BYTES_MAX: usize = 64 << 10;

/// Days of history kept at once. More means that nobody drops days.
pub const HISTORY_DAYS_MAX: usize = 400;

/// Days of history that one batch may begin.
pub const BATCH_NEW_DAYS_MAX: usize = 4;

/// Free bytes below which the leader refuses calls that add. Stops and reports go on from there.
pub const RESERVE_BYTES: u64 = 256 << 20;

/// Free bytes below which a commit is refused before it starts: a write that fails half way poisons
/// the store for good, so the last bytes of a disk belong to flushes that are already under way.
pub const FLOOR_BYTES: u64 = 24 << 20;

/// Bytes set aside for the day the disk is full: above the floor they leave room for the stops and
/// reports of some ten thousand tasks.
pub const BALLAST_BYTES: u64 = 64 << 20;

/// Free bytes from which room is set aside, and that a new store asks for: what is set aside must
/// leave more than the reserve.
pub const fn begin_bytes(reserve_bytes: u64, ballast_bytes: u64) -> u64 {
    reserve_bytes.saturating_add(ballast_bytes.saturating_mul(2))
}

/// Commits between two syncs of the watermark.
pub(crate) const WATERMARK_SYNC_COMMITS: u32 = 1_024;

/// The limits of a batch in every implementation here, unless a test asks for smaller ones.
pub const LIMITS: Limits = Limits {
    rows_max: BATCH_ROWS_MAX,
    history_max: BATCH_HISTORY_MAX,
    bytes_max: BATCH_BYTES_MAX,
    key_bytes_max: KEY_BYTES_MAX,
    value_bytes_max: VALUE_BYTES_MAX,
};
