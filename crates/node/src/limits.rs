//! Every limit of the node's decisions, in one place.

/// How long after a container's stop timeout its end is waited for before it is killed again. The
/// shim kills at the timeout by itself; this is for one that did not.
pub const STOP_GUARD_MS: i64 = 10_000;
/// Stop timeout when the definition names none. Source: ECS agent, `ECS_CONTAINER_STOP_TIMEOUT`.
pub const STOP_TIMEOUT_S: u32 = 30;
/// Pause before a failed removal, or a failed stop, is tried again.
pub const RETRY_MS: i64 = 1_000;
/// After this many failed removals the task is reported STOPPED with a note, and removing goes on.
pub const REMOVALS_BEFORE_REPORT: u32 = 10;
/// Minimum run time for a restart when the policy names none. Source: ECS API, `restartPolicy`.
pub const RESTART_ATTEMPT_PERIOD_S: u32 = 300;
/// Notes kept for the history of one task.
pub const NOTES_MAX: usize = 16;
/// Exit code of a container that can never start because of a dependency. Source: ECS agent.
pub const NEVER_STARTED_EXIT_CODE: i32 = 143;

/// Pause between health probes within the start period, milliseconds.
/// Source: Docker, `--health-start-interval`, whose default it is.
pub const START_INTERVAL_MS: i64 = 5_000;
