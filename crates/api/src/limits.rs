//! Every limit of the front door.

use std::time::Duration;

/// Open connections. For a further one another goes: see `places`.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Further ones that were told to go for another and are not gone yet.
pub const GOING_MAX: usize = 64;
/// Bytes of all requests together, heads and bodies, that are held at a time; as much again for a
/// moment, while those who were told to go have not given theirs back.
pub const HELD_BYTES_MAX: usize = 32 << 20;
/// What a request costs beside the bytes of its head and body.
pub const REQUEST_COST_BYTES: usize = 1 << 10;
/// Bytes that are read ahead of what is looked at, or written ahead of what is sent; a head in
/// HTTP/1 has to fit.
pub const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Bytes of a request's head in HTTP/2.
pub const HEAD_BYTES_MAX: u32 = 16 << 10;
/// Bytes of one request body. A task definition may have 64 KiB; one that is longer is read as far
/// as this, so that it is refused in ECS's own words.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of any request but a registration: what it brings into rows fits a commit many times over.
pub const REQUEST_BYTES_MAX: usize = 256 << 10;
/// Bodies of one connection that are held at a time, once a signature held on it; before, it is one.
/// HTTP/2 could send as many as it has streams.
pub const BODIES_PER_CONNECTION_MAX: usize = 16;
/// Requests of one HTTP/2 connection at a time.
pub const STREAMS_MAX: u32 = 64;
/// Bytes of an uploaded archive.
pub const UPLOAD_BYTES_MAX: u64 = 64 << 30;
/// Bytes of an upload after which the room on the disk is looked at again.
pub const UPLOAD_BYTES_BETWEEN_LOOKS: u64 = 16 << 20;
/// Time for a client to send a request's headers.
pub const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a connection may be kept without a request, once one was signed. Longer than clients
/// keep theirs.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Time of a connection on which no request was signed, whatever goes on on it.
pub const STRANGER_TIMEOUT: Duration = Duration::from_secs(60);
/// Time after which a client that does not read its answer may have to go for another.
pub const UNREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon it is looked again who may go, while nobody does.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time that a request waits for bytes that others hold.
pub const BYTES_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a client to send a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How fast an upload has to come. By default about as fast as a telephone line carried it.
#[derive(Clone, Copy, Debug)]
pub struct UploadPace {
    /// So many bytes have to come in each `time` that is spent waiting for them.
    pub bytes: u64,
    pub time: Duration,
}

impl Default for UploadPace {
    fn default() -> UploadPace {
        UploadPace {
            bytes: 64 << 10,
            time: Duration::from_secs(30),
        }
    }
}

/// Silence after which it is asked whether a client is still there, how often, and how far apart.
pub const PROBE_AFTER: Duration = Duration::from_secs(60);
pub const PROBES: u32 = 4;
pub const PROBE_EVERY: Duration = Duration::from_secs(15);
/// Time for which the rest of a refused request's body is read.
pub const READ_ON_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a connection that could not be accepted.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Time that running requests have when the server stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How far a request's time may lie from ours, either way, in seconds. Source: AWS.
pub const CLOCK_SKEW_S: i64 = 300;
/// Time for the control plane to take a turn before it counts as unwell.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long metrics are told again as they were.
pub const METRICS_KEPT: Duration = Duration::from_secs(1);
/// Backups that are made at a time.
pub const BACKUPS_MAX: usize = 4;
/// Time for a client to take the next piece of a backup.
pub const BACKUP_UNREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Access keys of an installation.
pub const KEYS_MAX: usize = 1_000;
/// Items of one page of a list, and of one Describe call. Source: ECS API.
pub const PAGE_MAX: usize = 100;
/// Instances that UpdateContainerInstancesState takes. Source: Amazon ECS.
pub const INSTANCES_PER_UPDATE_MAX: usize = 10;
/// History entries of one answer.
pub const HISTORY_MAX: usize = 1_000;
