//! From errors to the reasons ECS shows on a container: `Name: detail`.

use std::error::Error as StdError;
use windlass_model::container_fault::ContainerFault;
use windlass_model::stop::{ContainerReason, ReasonName};
use windlass_runtime::protocol::Refusal;
use windlass_runtime::spec::StartError;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOTDIR: i32 = 20;

/// A reason with this name.
pub fn of(name: ReasonName, detail: impl Into<String>) -> ContainerReason {
    ContainerReason::new(name, detail)
}

/// The whole chain of an error in one line.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Why a start failed: the runtime's error, and the exit code a shell would have given.
/// Source: ECS agent, which reports the container engine's exit code of a failed start.
pub fn of_start(error: &windlass_runtime::Error) -> (ContainerReason, Option<i32>) {
    use windlass_runtime::Error;
    match error {
        Error::Start { source, .. }
        | Error::Refused {
            source: Refusal::Start(source),
            ..
        } => of_start_error(source),
        Error::Mute { seconds, .. } => (
            of(
                ReasonName::ContainerRuntimeTimeoutError,
                format!("Could not transition to running; timed out after waiting {seconds}s"),
            ),
            None,
        ),
        other => (
            of(ReasonName::CannotStartContainerError, chain(other)),
            None,
        ),
    }
}

fn of_start_error(error: &StartError) -> (ContainerReason, Option<i32>) {
    let program = &error.detail;
    let fault = fault(error);
    let (detail, code) = match (error.stage.as_str(), error.errno) {
        ("exec", ENOENT) if program.contains('/') => (
            format!("exec: {program:?}: stat {program}: no such file or directory"),
            Some(127),
        ),
        ("exec", ENOENT) => (
            format!("exec: {program:?}: executable file not found in $PATH"),
            Some(127),
        ),
        ("exec", ENOTDIR) => (
            format!("exec: {program:?}: stat {program}: not a directory"),
            Some(127),
        ),
        ("exec", EACCES) => (format!("exec: {program:?}: permission denied"), Some(126)),
        ("cwd", ENOTDIR) => (
            format!(
                "OCI runtime create failed: chdir to cwd ({program:?}) failed: not a directory"
            ),
            Some(126),
        ),
        ("user", _) => (error.detail.clone(), None),
        ("rlimit", EPERM) => (
            format!(
                "the ulimit {program} is higher than that of windlass up, which has no privilege to \
                 raise it: lower it in ulimits, or start windlass up with a higher one"
            ),
            None,
        ),
        _ => (error.to_string(), None),
    };
    let reason = of(ReasonName::CannotStartContainerError, detail);
    (reason.with_fault(fault), code)
}

/// The kind of a start's error. What every container needs, as its processes and cgroups, has none.
fn fault(error: &StartError) -> Option<ContainerFault> {
    let path = error.detail.clone();
    let words = || std::io::Error::from_raw_os_error(error.errno).to_string();
    let words = || {
        words()
            .split(" (os error")
            .next()
            .unwrap_or_default()
            .to_lowercase()
    };
    Some(match (error.stage.as_str(), error.errno) {
        ("exec", EACCES) => ContainerFault::ProgramNotExecutable { path },
        ("exec", ENOENT | ENOTDIR) => ContainerFault::ProgramMissing { path },
        ("user", _) => ContainerFault::User { error: path },
        ("cwd", _) => ContainerFault::WorkingDirectory {
            path,
            error: words(),
        },
        ("mount", _) => ContainerFault::Mount {
            path,
            error: words(),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_errors_read_as_container_engines_say_them() {
        for (stage, errno, detail, text, code) in [
            (
                "exec",
                2,
                "nope",
                "exec: \"nope\": executable file not found in $PATH",
                Some(127),
            ),
            (
                "exec",
                2,
                "/nope",
                "exec: \"/nope\": stat /nope: no such file or directory",
                Some(127),
            ),
            (
                "exec",
                2,
                "",
                "exec: \"\": executable file not found in $PATH",
                Some(127),
            ),
            (
                "exec",
                20,
                "/etc/passwd/x",
                "exec: \"/etc/passwd/x\": stat /etc/passwd/x: not a directory",
                Some(127),
            ),
            (
                "exec",
                13,
                "/etc/passwd",
                "exec: \"/etc/passwd\": permission denied",
                Some(126),
            ),
            (
                "cwd",
                20,
                "/etc/passwd",
                "OCI runtime create failed: chdir to cwd (\"/etc/passwd\") failed: not a directory",
                Some(126),
            ),
            (
                "user",
                2,
                "unable to find group x: no matching entries in group file",
                "unable to find group x: no matching entries in group file",
                None,
            ),
            (
                "rlimit",
                1,
                "nofile",
                "the ulimit nofile is higher than that of windlass up, which has no privilege to raise \
                 it: lower it in ulimits, or start windlass up with a higher one",
                None,
            ),
            (
                "mount",
                2,
                "/data",
                "mount: /data: No such file or directory",
                None,
            ),
        ] {
            let error = StartError {
                stage: stage.into(),
                errno,
                detail: detail.into(),
            };
            let (reason, exit_code) = of_start_error(&error);
            assert_eq!((reason.detail.as_str(), exit_code), (text, code));
        }
    }
}
