//! Every limit of the model, in one place. Source: Amazon ECS service quotas unless said otherwise.

pub const CONTAINERS_PER_DEFINITION_MAX: usize = 10;
pub const DEFINITION_BYTES_MAX: usize = 65_536;
pub const OVERRIDES_BYTES_MAX: usize = 8_192;
pub const TASKS_PER_RUN_MAX: u32 = 10;
pub const INSTANCES_PER_START_MAX: usize = 10;
pub const TAGS_MAX: usize = 50;
pub const TAG_KEY_CHARS_MAX: usize = 128;
pub const TAG_VALUE_CHARS_MAX: usize = 256;
pub const REASON_CHARS_MAX: usize = 1_024;
pub const RUNTIME_ID_BYTES_MAX: usize = 255;
pub const DIGEST_BYTES_MAX: usize = 255;
pub const SUBNETS_MAX: usize = 16;
pub const SECURITY_GROUPS_MAX: usize = 5;
pub const DELETE_DEFINITIONS_MAX: usize = 10;
pub const REVISIONS_PER_FAMILY_MAX: u32 = 1_000_000;
/// Host ports that a machine keeps: SSH's, container engines' and the agent's own.
pub const RESERVED_TCP_PORTS: [u16; 5] = [22, 2375, 2376, 51678, 51679];

/// How long a stopped task stays describable: ECS promises at least an hour.
pub const STOPPED_TASK_KEPT_MS: i64 = 3_600_000;
/// Stopped tasks kept in the state at most; the oldest leave first.
pub const STOPPED_TASKS_KEPT_MAX: usize = 10_000;
/// How long a RunTask client token is remembered.
pub const CLIENT_TOKEN_KEPT_MS: i64 = 86_400_000;
/// How long a deleted cluster stays describable.
pub const INACTIVE_CLUSTER_KEPT_MS: i64 = 3_600_000;
/// History older than this is dropped, in days.
pub const HISTORY_DAYS: i64 = 30;
/// How long after its last message an agent counts as connected.
pub const AGENT_SILENCE_MS: i64 = 30_000;
