//! `wait`: until a task runs, or has stopped.

use super::Context;
use crate::failure::Failure;
use crate::limits;
use crate::link::{GONE, Link, Pauses};
use crate::progress::Progress;
use crate::task::{self, text};
use clap::ValueEnum;
use std::time::Duration;
use windlass_wire::shapes::task::Task;

const EXAMPLES: &str = "\
Examples:
  windlass wait 3f2a running
  windlass wait 3f2a stopped --timeout 60";

/// Wait until a task runs or has stopped.
///
/// Exits with 1 when a task that should run has stopped, and with 2 when the time is over.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WaitArgs {
    /// ARN, id, or a unique beginning of an id.
    #[arg(value_name = "TASK")]
    task: String,
    #[arg(value_enum)]
    status: Wanted,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    Running,
    Stopped,
}

pub(crate) async fn run(args: WaitArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let mut link = context.link()?;
    let (name, wanted) = (&args.task, args.status);
    // The whole id: of what was given, another task may begin with it by then.
    let id = task::id(&task::find(&link.client, name).await?).to_owned();
    let progress = Progress::spinner(&context.out, "waiting");
    let out = &mut context.out;
    let waited = progress.during(tokio::time::timeout(
        Duration::from_secs(args.timeout),
        until(
            &mut link,
            &id,
            |task| is_reached(task, wanted),
            || out.note(GONE),
        ),
    ));
    let Ok(task) = waited.await else {
        let wanted = wanted.to_possible_value();
        return Err(Failure::TimedOut(format!(
            "{name} was not {} after {} seconds: `windlass describe {name}` shows its state",
            text(&wanted.map(|it| it.get_name().to_owned())),
            args.timeout,
        )));
    };
    let task = task?;
    if wanted == Wanted::Running && task::is_stopped(&task) {
        let reason = text(&task.stopped_reason);
        return Err(Failure::Failed(format!(
            "{name} has stopped ({reason}): `windlass why {name}` tells more"
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
        match task::find(&link.client, id).await {
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
