//! Every limit of the leader.

use std::time::Duration;

/// API calls waiting for a turn; one more is answered with throttling.
pub const INBOX_CALLS_MAX: usize = 4_096;
/// Agent reports waiting for a turn: a share of their own, so that calls cannot crowd them out.
pub const INBOX_REPORTS_MAX: usize = 16_384;
/// Requests decided in one turn, so that the first of them does not wait for the last.
pub const TURN_REQUESTS_MAX: usize = 512;
/// Messages waiting for one agent; an agent further behind is cut off and connects again.
pub const SESSION_MESSAGES_MAX: usize = 1_024;
/// The longest the leader sleeps without looking at what time made due.
pub const IDLE_MAX: Duration = Duration::from_secs(5);
/// How often free disk space is read at most.
pub const SPACE_READ_EVERY: Duration = Duration::from_secs(1);
/// How often days of history past their time are dropped, in milliseconds of the turn's clock.
pub const HISTORY_DROP_EVERY_MS: i64 = 3_600_000;
/// How long what nobody waits for waits after the store had no room for a turn.
pub const FULL_RETRY_EVERY: Duration = Duration::from_secs(1);
