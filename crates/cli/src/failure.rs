//! Why a verb failed, and the exit code that says so.
//!
//! ```text
//! 0 done              3 not found      69 no server answers
//! 1 failed            4 denied        125 `run` has no exit code of its container
//! 2 could not place,  64 usage        130 interrupted
//!   or timed out
//! ```

use std::io;
use windlass_wire::{ApiError, ErrorCode};

/// A verb's failure. The message says what, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Usage(String),
    /// The server refused.
    #[error("{0}")]
    Api(#[source] ApiError),
    /// An answer that no client can read, or an operation that went wrong on this side.
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    NotPlaced(String),
    #[error("{0}")]
    TimedOut(String),
    /// No server, or none that answers.
    #[error("{0}")]
    Unreachable(String),
    /// A local file.
    #[error("{what}: {err}")]
    File {
        what: String,
        #[source]
        err: io::Error,
    },
    /// Output could not be written. A reader that has gone away, as with `| head`, is no failure.
    #[error("write the output: {0}")]
    Output(#[source] io::Error),
    #[error("interrupted")]
    Interrupted,
    /// `run`: what happened while its tasks ran, so that there is no exit code of a container.
    #[error("{0}")]
    Run(#[source] Box<Failure>),
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::NotPlaced(_) | Failure::TimedOut(_) => 2,
            Failure::NotFound(_) => 3,
            Failure::Denied(_) => 4,
            Failure::Usage(_) => USAGE,
            Failure::Unreachable(_) => 69,
            Failure::Interrupted => 130,
            Failure::Api(err) => api_code(err),
            Failure::File { err, .. } => match err.kind() {
                io::ErrorKind::NotFound => 3,
                io::ErrorKind::PermissionDenied => 4,
                _ => 1,
            },
            Failure::Output(err) if err.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Output(_) => 1,
            Failure::Run(failure) => match **failure {
                Failure::Interrupted => 130,
                _ => RUN_FAILED,
            },
        }
    }

    /// Whether nothing needs to be said: nobody reads the output any more, or all is said.
    pub fn is_silent(&self) -> bool {
        match self {
            Failure::Interrupted => true,
            Failure::Output(err) => err.kind() == io::ErrorKind::BrokenPipe,
            Failure::Run(failure) => failure.is_silent(),
            _ => false,
        }
    }

    /// Whether the terminal that output goes to is gone.
    pub(crate) fn is_hangup(&self) -> bool {
        // What Linux answers when the other end of a terminal is closed: EIO.
        matches!(self, Failure::Output(err) if err.raw_os_error() == Some(IO_ERROR))
    }

    /// Whether the server is gone, and may come back.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Failure::Unreachable(_) => true,
            Failure::Api(err) => err.code == ErrorCode::ServiceUnavailable,
            _ => false,
        }
    }

    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
        let what = what.into();
        |err| Failure::File { what, err }
    }
}

/// EIO. Source: errno(3), the same on every architecture of Linux.
const IO_ERROR: i32 = 5;

/// Exit code of a wrong command line. Source: sysexits.h, EX_USAGE.
pub const USAGE: u8 = 64;

/// Exit code of `run` when its tasks were started, and there is none of a container.
pub const RUN_FAILED: u8 = 125;

impl From<ApiError> for Failure {
    fn from(err: ApiError) -> Failure {
        Failure::Api(err)
    }
}

fn api_code(err: &ApiError) -> u8 {
    use ErrorCode as E;
    match err.code {
        E::ClusterNotFound
        | E::NamespaceNotFound
        | E::ResourceNotFound
        | E::ServiceNotFound
        | E::TargetNotFound
        | E::TaskSetNotFound => 3,
        // ECS has no code of its own for tasks and definitions that are not there.
        E::InvalidParameter | E::Client if says_not_found(&err.message) => 3,
        // What was given means several things.
        E::InvalidParameter if err.message.ends_with("give more digits.") => USAGE,
        E::AccessDenied
        | E::ExpiredToken
        | E::IncompleteSignature
        | E::InvalidSignature
        | E::MissingAuthenticationToken
        | E::UnrecognizedClient => 4,
        E::ServiceUnavailable => 69,
        _ => 1,
    }
}

fn says_not_found(message: &str) -> bool {
    let known = [
        "The referenced task was not found",
        "No task's id begins with",
        "No node's id begins with",
        "TaskDefinition not found",
        "Unable to describe task definition",
    ];
    known.iter().any(|known| message.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_code() {
        let text = String::new;
        let api = |code, message: &str| Failure::Api(ApiError::new(code, message));
        let file = |kind: io::ErrorKind| Failure::File {
            what: text(),
            err: kind.into(),
        };
        let table = [
            (Failure::Failed(text()), 1),
            (Failure::NotPlaced(text()), 2),
            (Failure::TimedOut(text()), 2),
            (Failure::NotFound(text()), 3),
            (Failure::Denied(text()), 4),
            (Failure::Usage(text()), 64),
            (Failure::Unreachable(text()), 69),
            (Failure::Interrupted, 130),
            (api(ErrorCode::ClusterNotFound, "Cluster not found."), 3),
            (
                api(
                    ErrorCode::InvalidParameter,
                    "The referenced task was not found.",
                ),
                3,
            ),
            (
                api(
                    ErrorCode::InvalidParameter,
                    "No task's id begins with \"ab\".",
                ),
                3,
            ),
            (
                api(ErrorCode::Client, "Unable to describe task definition."),
                3,
            ),
            (
                api(
                    ErrorCode::InvalidParameter,
                    "Several tasks' ids begin with \"a\": give more digits.",
                ),
                64,
            ),
            (
                api(ErrorCode::InvalidParameter, "Tasks cannot be empty."),
                1,
            ),
            (api(ErrorCode::AccessDenied, ""), 4),
            (api(ErrorCode::InvalidSignature, ""), 4),
            (api(ErrorCode::UnrecognizedClient, ""), 4),
            (api(ErrorCode::ServiceUnavailable, ""), 69),
            (api(ErrorCode::Server, ""), 1),
            (file(io::ErrorKind::NotFound), 3),
            (file(io::ErrorKind::PermissionDenied), 4),
            (file(io::ErrorKind::StorageFull), 1),
            (Failure::Output(io::ErrorKind::BrokenPipe.into()), 0),
            (Failure::Output(io::ErrorKind::StorageFull.into()), 1),
            (Failure::Run(Box::new(Failure::NotPlaced(text()))), 125),
            (Failure::Run(Box::new(Failure::Interrupted)), 130),
        ];
        for (failure, code) in table {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
            assert_eq!(failure.is_silent(), code == 0 || code == 130, "{failure:?}");
        }
    }
}
