//! A cause in words: one sentence that names it, and how to mend it where that is known.

use super::cause::{Alive, Cause, Dependency, End, Fault, Image, Late, Memory};
use crate::words::{self, last_part};

/// Characters of a program's own line that a sentence quotes.
const QUOTED_MAX: usize = 200;

/// What is told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) summary: String,
    pub(super) mend: Option<String>,
}

fn told(summary: String, mend: Option<String>) -> Told {
    Told { summary, mend }
}

/// `id` is the beginning of the task's id, for commands that are to be typed.
pub(super) fn of(cause: &Cause, id: &str) -> Told {
    match cause {
        Cause::Alive(alive) => of_alive(alive, id),
        Cause::Stopped { by, reason, late } => of_stop(by, reason, late),
        Cause::Container { name, end } => told(
            format!("Container {name} {}.", end_words(end)),
            mend(name, end, id),
        ),
        Cause::Other(reason) if reason.is_empty() => {
            told("It stopped, and no reason is kept.".to_owned(), None)
        }
        Cause::Other(reason) => told(format!("It stopped: {}.", without_stop(reason)), None),
    }
}

fn of_stop(by: &str, reason: &str, late: &[Late]) -> Told {
    let by = match last_part(by) {
        "" => "a user",
        name => name,
    };
    let reason = without_stop(reason);
    let Some(first) = late.first() else {
        return told(format!("{} stopped it: {reason}.", capital(by)), None);
    };
    let container = &first.container;
    told(
        format!(
            "Container {container} did not end within its stopTimeout of {} s, so that the stop by \
             {by} ({reason}) became a kill with SIGKILL.",
            first.seconds
        ),
        Some(format!(
            "let the program of {container} end on its stop signal, as one under a shell may never \
             get it (`exec` helps, or \"initProcessEnabled\"), or raise `stopTimeout`"
        )),
    )
}

/// What a container did, after its name.
fn end_words(end: &End) -> String {
    match end {
        End::Exited {
            code,
            last_line,
            memory,
        } => exited(*code, last_line, *memory),
        End::OutOfMemory(memory) if memory.of_task => format!(
            "was killed by the kernel, as the task used more memory than its limit of {}",
            words::bytes(memory.limit_bytes)
        ),
        End::OutOfMemory(memory) => format!(
            "used more memory than its limit of {}, and the kernel killed it",
            words::bytes(memory.limit_bytes)
        ),
        End::Program(program) => {
            let why = match program.why.as_str() {
                "" => &program.error,
                why => why,
            };
            format!("could not run its program {}: {why}", program.path)
        }
        End::Fault { fault, about } => fault_words(fault, about),
        End::Waited { fault, on } => waited(fault, on),
        End::Reason(reason) => format!("failed: {}", without_stop(reason)),
        End::Runs => "runs".to_owned(),
        End::Unknown => "ended, and nobody knows how".to_owned(),
    }
}

fn exited(code: i32, last_line: &str, memory: Option<Memory>) -> String {
    let mut text = match code {
        0 => "ended by itself with exit code 0, which is success".to_owned(),
        _ => format!("ended with exit code {}", words::exit_code(code)),
    };
    if let Some(memory) = memory {
        text.push_str(&format!(
            ", after the kernel had killed a process of it for memory (the limit{} is {})",
            if memory.of_task { " of the task" } else { "" },
            words::bytes(memory.limit_bytes)
        ));
    } else if code == 137 {
        text.push_str(", neither for memory nor by a stop of the task");
    }
    // What `env` says of a script whose first line ends in a carriage return.
    if code == 127 && last_line.contains("\r'") {
        text.push_str(", for its script has the line ends of Windows");
    }
    if !last_line.is_empty() {
        text.push_str(&format!(
            "; its last line: {}",
            without_stop(&quoted(last_line))
        ));
    }
    text
}

fn fault_words(fault: &Fault, about: &str) -> String {
    match fault {
        Fault::ProgramMissing { path } if path.contains('/') => {
            format!("was not started: its program {path} is not in the image {about}")
        }
        Fault::ProgramMissing { path } => format!(
            "was not started: its program {path:?} is in no folder of PATH in the image {about}"
        ),
        Fault::ProgramNotExecutable { path } => {
            format!("was not started: its program {path} is not executable")
        }
        Fault::User { error } => format!(
            "was not started, for its user cannot be had: {}",
            without_stop(error)
        ),
        Fault::WorkingDirectory { path, error } => {
            format!("was not started: its working directory {path} cannot be entered: {error}")
        }
        Fault::Mount { path, error } => {
            let what = if about.is_empty() {
                "what belongs there"
            } else {
                about
            };
            format!("was not started: {what} could not be mounted at {path}: {error}")
        }
        Fault::Volume { volume, error } => format!(
            "was not started: volume {volume} cannot be had: {}",
            without_stop(error)
        ),
        Fault::Image(problem) => format!(
            "was not started: its image {about} {}",
            image_words(problem)
        ),
        Fault::HolderEnded => "was killed with the shim, the process that held the task's \
                               containers, which ended"
            .to_owned(),
        Fault::Dependency(fault) => waited(fault, &End::Unknown),
        Fault::Unknown => "failed".to_owned(),
    }
}

fn image_words(problem: &Image) -> String {
    match problem {
        Image::Refused { registry, error } => format!(
            "was not given out by registry {registry}: {}",
            without_stop(error)
        ),
        Image::Unreachable { registry, error } => format!(
            "is not here, and registry {registry} cannot be reached: {}",
            without_stop(error)
        ),
        Image::Platform { wanted, found } => {
            format!("is for {found}, and not for this machine's platform {wanted}")
        }
        Image::Other { error } => format!("cannot be used: {}", without_stop(error)),
    }
}

fn waited(fault: &Dependency, on: &End) -> String {
    let Dependency {
        container,
        condition,
        problem,
    } = fault;
    let wish = match condition.as_str() {
        "SUCCESS" => "to end with success",
        "COMPLETE" => "to end",
        "HEALTHY" => "to be healthy",
        _ => "to start",
    };
    let begin = format!("was not started: container {container}, which had {wish} first,");
    match (problem.as_str(), on) {
        ("unchecked", _) => format!("{begin} has no health check"),
        ("timedOut", _) => format!("{begin} was not so within its startTimeout"),
        (_, End::Unknown | End::Runs) => format!("{begin} never will"),
        (_, end) => format!("{begin} {}", end_words(end)),
    }
}

fn mend(name: &str, end: &End, id: &str) -> Option<String> {
    Some(match end {
        End::Exited { code: 0, .. } => {
            format!("a container that may end before the others is not `essential`: check {name}")
        }
        End::Exited {
            code: 126 | 127, ..
        } => {
            format!("check `command` and `entryPoint` of {name} against its image")
        }
        End::Exited {
            memory: Some(_), ..
        } => more_memory(name),
        End::Exited { last_line, .. } if last_line.contains("ead-only file system") => format!(
            "give {name} a volume or a tmpfs where it writes, or leave \"readonlyRootFilesystem\" \
             out"
        ),
        End::Exited { last_line, .. } if last_line.contains("o space left on device") => {
            "make room on the disk: `windlass images prune`, `df -h`".to_owned()
        }
        End::Exited { .. } => format!("look at what it wrote: `windlass logs {id} {name}`"),
        End::OutOfMemory(memory) if memory.of_task => {
            "give the task a higher `memory` in the task definition, or make its programs use less"
                .to_owned()
        }
        End::OutOfMemory(_) => more_memory(name),
        End::Program(program) => match program.cause.as_str() {
            "architecture" => "build the image for this machine, or run it on another".to_owned(),
            "carriageReturn" => {
                "save the script with the line ends of Unix: `sed -i 's/\\r$//' FILE`".to_owned()
            }
            "noInterpreterLine" => {
                "begin the script with a line as `#!/bin/sh`, or run it by `sh FILE`".to_owned()
            }
            _ => format!("check `command` and `entryPoint` of {name} against its image"),
        },
        End::Fault { fault, .. } => return mend_of_fault(name, fault),
        End::Waited { fault, on } => return mend_of_wait(fault, on, id),
        End::Reason(reason) if reason.starts_with("ResourceInitialization") => {
            "check the task's volumes, secrets and network against the message".to_owned()
        }
        End::Reason(_) => format!("check the definition of {name} against the message"),
        End::Runs | End::Unknown => return None,
    })
}

fn more_memory(name: &str) -> String {
    format!("give {name} a higher `memory` in the task definition, or make the program use less")
}

fn mend_of_fault(name: &str, fault: &Fault) -> Option<String> {
    Some(match fault {
        Fault::ProgramMissing { .. } | Fault::ProgramNotExecutable { .. } => {
            format!("check `command` and `entryPoint` of {name} against its image")
        }
        Fault::User { .. } => {
            format!("check `user` of {name}: a name must be in the image, a number need not")
        }
        Fault::WorkingDirectory { .. } => {
            "check `workingDirectory`: the image has something else there than a folder".to_owned()
        }
        Fault::Mount { .. } => {
            "check `mountPoints`: a folder goes onto a folder and a file onto a file".to_owned()
        }
        Fault::Volume { .. } => {
            "check `volumes` of the task definition against the message".to_owned()
        }
        Fault::Image(Image::Platform { .. }) => {
            "build or name the image for this machine's platform".to_owned()
        }
        Fault::Image(Image::Unreachable { .. }) => {
            "check the registry's name and the network, or load the image: `windlass images load`"
                .to_owned()
        }
        Fault::Image(_) => {
            "check the image's name, `windlass images` for what is there, or load it \
                            with `windlass images load`"
                .to_owned()
        }
        Fault::HolderEnded => {
            "run the task again; `dmesg` tells whether the kernel killed the shim".to_owned()
        }
        Fault::Dependency(_) | Fault::Unknown => return None,
    })
}

fn mend_of_wait(fault: &Dependency, on: &End, id: &str) -> Option<String> {
    match (fault.problem.as_str(), on) {
        ("unchecked", _) => Some(format!("give {} a `healthCheck`", fault.container)),
        ("timedOut", _) | (_, End::Unknown | End::Runs) => Some(format!(
            "look at what it wrote: `windlass logs {id} {}`",
            fault.container
        )),
        (_, end) => mend(&fault.container, end, id),
    }
}

fn of_alive(alive: &Alive, id: &str) -> Told {
    match alive {
        Alive::Unhealthy { container, output } => {
            let said = match output.trim().lines().last().unwrap_or_default() {
                "" => String::new(),
                output => format!(", which said: {}", without_stop(&quoted(output))),
            };
            let who = match container.as_str() {
                "" => "It".to_owned(),
                container => format!("Container {container}"),
            };
            told(
                format!("{who} runs and is unhealthy by its health check{said}."),
                Some(format!(
                    "look at what it wrote: `windlass logs {id} {container}`"
                )),
            )
        }
        Alive::Stopping(reason) => told(
            format!("It runs and is about to stop: {}.", without_stop(reason)),
            None,
        ),
        Alive::Runs => told("It runs.".to_owned(), None),
        Alive::Coming(status) => told(
            format!("It is on its way: {status}. The phases below tell for how long."),
            None,
        ),
        Alive::Leaving { from, to } => told(format!("It is {from}, on its way to {to}."), None),
    }
}

fn quoted(line: &str) -> String {
    let mut shown: String = line.chars().take(QUOTED_MAX).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

/// The sentence brings its own full stop.
fn without_stop(text: &str) -> &str {
    text.trim_end().trim_end_matches('.')
}

fn capital(text: &str) -> String {
    match text == "a user" {
        true => "A user".to_owned(),
        false => text.to_owned(),
    }
}
