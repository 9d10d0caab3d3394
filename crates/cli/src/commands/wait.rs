//! `wait`: until a task runs, or has stopped.

use super::Context;
use crate::failure::Failure;
use crate::limits;
use crate::link::{GONE, Link, Pauses};
use crate::progress::Progress;
use crate::task::{self, text};
use clap::ValueEnum;
use std::time::Duration;
use tokio::time::Instant;
use windlass_wire::shapes::task::Task;

const EXAMPLES: &str = "\
Examples:
  windlass wait 3f2a                        until it has stopped
  windlass wait 3f2a 77b0 web running       until all of them run
  windlass wait 3f2a stopped --timeout 60";

/// Wait until tasks run or have stopped.
///
/// Exits with 1 when a task that should run has stopped, and with 2 when the time is over.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WaitArgs {
    /// ARNs, ids, unique beginnings of ids, or families that one task has; then `running` or
    /// `stopped` [default: stopped].
    #[arg(value_name = "TASK", required = true)]
    words: Vec<String>,
    /// Give up after so many seconds, for all of them.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    Running,
    Stopped,
}

/// The tasks, and what is waited for.
fn asked(words: &[String]) -> Result<(&[String], Wanted), Failure> {
    let (tasks, wanted) = match words.split_last() {
        Some((last, tasks)) => match Wanted::from_str(last, true) {
            Ok(wanted) => (tasks, wanted),
            Err(_) => (words, Wanted::Stopped),
        },
        None => (words, Wanted::Stopped),
    };
    match tasks.is_empty() {
        true => Err(Failure::Usage(
            "no task is named: `windlass wait TASK... [running|stopped]`".to_owned(),
        )),
        false => Ok((tasks, wanted)),
    }
}

pub(crate) async fn run(args: WaitArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let (names, wanted) = asked(&args.words)?;
    let mut link = context.link()?;
    let mut ids = Vec::new();
    for name in names {
        // The whole id: of what was given, another task may begin with it by then.
        let task = task::find(&link.client, name).await?;
        ids.push((name, task::id(&task).to_owned()));
    }
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let progress = Progress::spinner(&context.out, "waiting");
    let out = &mut context.out;
    let waiting = async {
        for (name, id) in &ids {
            let is_done = |task: &Task| is_reached(task, wanted);
            let task = until(&mut link, id, is_done, || out.note(GONE));
            let Ok(task) = tokio::time::timeout_at(deadline, task).await else {
                return Err(late(name, wanted, args.timeout));
            };
            ended_early(name, &task?, wanted)?;
        }
        Ok(())
    };
    progress.during(waiting).await
}

fn late(name: &str, wanted: Wanted, seconds: u64) -> Failure {
    let wanted = wanted.to_possible_value();
    let wanted = wanted.map(|it| it.get_name().to_owned());
    Failure::TimedOut(format!(
        "{name} was not {} after {seconds} seconds: `windlass describe {name}` shows its state",
        text(&wanted),
    ))
}

fn ended_early(name: &str, task: &Task, wanted: Wanted) -> Result<(), Failure> {
    if wanted == Wanted::Running && task::is_stopped(task) {
        let reason = text(&task.stopped_reason);
        let id = task::short(task);
        return Err(Failure::Failed(format!(
            "{name} has stopped ({reason}): `windlass why {id}` tells more"
        )));
    }
    Ok(())
}

/// A task that stopped will never run: that is an end of waiting too.
fn is_reached(task: &Task, wanted: Wanted) -> bool {
    let running = wanted == Wanted::Running && text(&task.last_status) == "RUNNING";
    running || task::is_stopped(task)
}

/// Looks at a task until `is_done`; `gone` is called each time the server is gone, and waited for.
async fn until(
    link: &mut Link,
    id: &str,
    is_done: impl Fn(&Task) -> bool,
    mut gone: impl FnMut(),
) -> Result<Task, Failure> {
    let mut pauses = Pauses::new(limits::POLL_MIN, limits::POLL_MAX);
    loop {
        match task::by_id(&link.client, id).await {
            Ok(task) if is_done(&task) => return Ok(task),
            Ok(_) => pauses.next().await,
            Err(failure) => {
                if failure.is_gone() {
                    gone();
                }
                link.mend(failure).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_may_say_what_for() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, tasks, wanted) in [
            ("a", "a", Wanted::Stopped),
            ("a b", "a b", Wanted::Stopped),
            ("a b running", "a b", Wanted::Running),
            ("a STOPPED", "a", Wanted::Stopped),
            ("running a", "running a", Wanted::Stopped),
        ] {
            let given = words(line);
            assert_eq!(
                asked(&given).unwrap(),
                (&words(tasks)[..], wanted),
                "{line}"
            );
        }
        assert_eq!(asked(&words("running")).unwrap_err().exit_code(), 64);
    }
}
