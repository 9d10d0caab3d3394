//! Every limit of the front door.

use std::time::Duration;

/// Open connections; further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Bytes of one request body. A task definition may have 64 KiB; one that is longer is read as far
/// as this, so that it is refused in ECS's own words.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of any request but a registration: what it brings into rows fits a commit many times over.
pub const REQUEST_BYTES_MAX: usize = 256 << 10;
/// Bodies of one connection that are held at a time; HTTP/2 could send as many as it has streams.
pub const BODIES_PER_CONNECTION_MAX: usize = 16;
/// Requests of one HTTP/2 connection at a time.
pub const STREAMS_MAX: u32 = 64;
/// Bytes of an uploaded archive.
pub const UPLOAD_BYTES_MAX: u64 = 64 << 30;
/// Bytes of an upload after which the room on the disk is looked at again.
pub const UPLOAD_BYTES_BETWEEN_LOOKS: u64 = 16 << 20;
/// Time for a client to send a request's headers.
pub const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a connection may be kept without a request. Longer than clients keep theirs.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Time for a client to send a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for which the rest of a refused request's body is read.
pub const READ_ON_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a connection that could not be accepted.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Time that running requests have when the server stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How far a request's time may lie from ours, either way, in seconds. Source: AWS.
pub const CLOCK_SKEW_S: i64 = 300;
/// Items of one page of a list, and of one Describe call. Source: ECS API.
pub const PAGE_MAX: usize = 100;
/// History entries of one answer.
pub const HISTORY_MAX: usize = 1_000;
