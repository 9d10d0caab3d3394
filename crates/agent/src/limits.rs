//! Every limit of the agent, in one place.

use std::time::Duration;

/// Bytes of one ledger record; a definition is at most 64 KiB, overrides 8 KiB.
pub const RECORD_BYTES_MAX: u64 = 1024 * 1024;
/// What a file of one byte takes on tmpfs, at least.
pub const PAGE_BYTES: usize = 4096;
/// Tasks one ledger may hold; more is damage, not use.
pub const RECORDS_MAX: usize = 10_000;

/// A container's log file, and how many of them rotate, when its options say nothing.
pub const LOG_FILE_BYTES: u64 = 10 * 1024 * 1024;
pub const LOG_FILES: u32 = 3;
/// What log options may ask for.
pub const LOG_FILE_BYTES_MIN: u64 = 4 * 1024;
pub const LOG_FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
pub const LOG_FILES_MAX: u32 = 100;
/// Folders of ended tasks' logs that are kept; the oldest leave first.
pub const LOG_TASKS_KEPT_MAX: usize = 1_000;
/// After so many ended tasks the kept logs are counted.
pub const ENDED_PER_LOG_SWEEP: u32 = 50;
/// Bytes one read of a log takes from its files at most, a record more or less.
pub const LOG_BYTES_PER_READ_MAX: usize = 256 * 1024;
/// Bytes of one record; the shim's are far shorter, so that what is longer is damage and skipped.
pub const LOG_RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Bytes in which a log is read from its end.
pub const LOG_BLOCK_BYTES: usize = 64 * 1024;
/// Bytes read from the end of a log for the last lines of a failed container.
pub const LAST_LINES_BYTES_MAX: u64 = 16 * 1024;
pub const LAST_LINES_MAX: usize = 10;
pub const LAST_LINE_CHARS_MAX: usize = 512;

/// Characters of a health check's output that are kept. Source: ECS agent.
pub const HEALTH_OUTPUT_CHARS_MAX: usize = 1_024;
pub const HEALTH_OUTPUT_BYTES_MAX: u64 = 4_096;

/// Processes and threads of one container and of a task; without a limit one fork bomb takes the
/// node.
pub const PIDS_PER_CONTAINER: u64 = 8_192;
pub const PIDS_PER_TASK: u64 = 16_384;
/// Open files, soft and hard, where the definition names none: what container engines give on EC2,
/// and what Fargate gives.
pub const OPEN_FILES_EC2: (u64, u64) = (1_024, 524_288);
pub const OPEN_FILES_FARGATE: (u64, u64) = (65_535, 65_535);
/// Smallest memory limit. Source: ECS agent.
pub const MEMORY_MIB_MIN: u64 = 4;
pub const CPU_SHARES_MIN: u64 = 2;
pub const CPU_SHARES_MAX: u64 = 262_144;
pub const CPU_PERIOD_US: u64 = 100_000;
/// Files of `volumesFrom` chains that are followed.
pub const VOLUMES_FROM_DEPTH_MAX: usize = 10;

/// How long a sandbox, a network or a start may take before it counts as failed.
/// Source: ECS agent, container start time-out.
pub const START_TIME: Duration = Duration::from_secs(180);
pub const PULL_TIME: Duration = Duration::from_secs(2 * 60 * 60);
pub const REMOVE_TIME: Duration = Duration::from_secs(120);

/// An unacknowledged report is sent again after this.
pub const RESEND_AFTER: Duration = Duration::from_secs(5);
/// Sent when nothing else was.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
/// How often the machine's listening sockets are looked at.
pub const PORTS_EVERY: Duration = Duration::from_secs(2);
/// Ports in use that are told; those beyond are found when a task fails on one.
pub const LISTENING_PORTS_MAX: usize = 4_096;
/// Pause before a ledger record that could not be written is tried again.
pub const LEDGER_RETRY_MS: i64 = 1_000;
/// Reports that an agent may have sent without writing their numbers down, before it was ended: one
/// that comes after it numbers its own above them.
pub const REPORTS_UNWRITTEN_MAX: u64 = 1 << 20;
/// Pause before what an unknown sandbox left is removed again.
pub const SWEEP_RETRY: Duration = Duration::from_secs(10);

/// Memory left to the host: a tenth of it, but at most this.
pub const HOST_RESERVE_MIB_MAX: u64 = 512;
