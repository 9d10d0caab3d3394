//! Every limit of the command line.

use std::time::Duration;

/// Bytes of a password that are read.
pub(crate) const PASSWORD_BYTES_MAX: u64 = 64 << 10;

/// Bytes of an answer that is not streamed. A page of 100 tasks is far below.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes of one record of a streamed answer.
pub(crate) const RECORD_BYTES_MAX: usize = 4 << 20;
/// Bytes of a task definition's file. ECS takes 64 KiB; comments of tools may come on top.
pub(crate) const DEFINITION_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a file in the data folder.
pub(crate) const DATA_FILE_BYTES_MAX: u64 = 1 << 20;
/// Time to connect.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the answer of an operation that only reads or decides.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Time between two looks at a task that is waited for: short at first, as a task may be, and each
/// time twice as long.
pub(crate) const POLL_MIN: Duration = Duration::from_millis(5);
pub(crate) const POLL_MAX: Duration = Duration::from_millis(200);
/// Time between two looks for a server that is gone, likewise.
pub(crate) const RECONNECT_MIN: Duration = Duration::from_millis(50);
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// Time that a server which is gone has to come back.
pub(crate) const RECONNECT_TIMEOUT: Duration = Duration::from_secs(300);
/// Time after which something is worth a sign that it goes on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Time that `aws --version` has.
pub(crate) const AWS_TIMEOUT: Duration = Duration::from_secs(3);
/// Tasks whose logs are shown at once: each holds a connection of the server.
pub(crate) const FOLLOWED_MAX: u32 = 100;
/// Tasks of one RunTask. Source: ECS API.
pub(crate) const RUN_COUNT_MAX: u32 = 10;
/// Items of one page and of one Describe call. Source: ECS API.
pub(crate) const PAGE_MAX: usize = 100;
/// Pages that are followed before a server is held to be turning in circles.
pub(crate) const PAGES_MAX: usize = 10_000;
/// Pieces in which a file is sent.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Digits of a short task id, more where tasks shown together need them.
pub(crate) const SHORT_ID: usize = 8;
/// Characters of a family. Source: ECS API.
pub(crate) const FAMILY_CHARS_MAX: usize = 255;
/// Tasks that are listed where a name means several.
pub(crate) const CANDIDATES_MAX: usize = 10;
/// Time between two looks of `ps --watch`.
pub(crate) const WATCH_PAUSE: Duration = Duration::from_secs(1);
/// The pause in times of what a look took, where that is longer.
pub(crate) const WATCH_SHARE: u32 = 10;
/// Bytes of a configuration file of the AWS tools.
pub(crate) const AWS_FILE_BYTES_MAX: u64 = 4 << 20;
/// Characters of a profile's name.
pub(crate) const PROFILE_CHARS_MAX: usize = 128;
