//! `wait`: until a task runs, or has stopped.

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::limits;
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
    let client = context.client()?;
    let wanted = args.status;
    let progress = Progress::spinner(&context.out, "waiting");
    let waited = until(&client, &args.task, |task| is_reached(task, wanted));
    let waited = progress
        .during(tokio::time::timeout(
            Duration::from_secs(args.timeout),
            waited,
        ))
        .await;
    match waited {
        Ok(task) => match task? {
            task if wanted == Wanted::Running && task::is_stopped(&task) => {
                let reason = text(&task.stopped_reason);
                let name = &args.task;
                Err(Failure::Failed(format!(
                    "{name} has stopped ({reason}): `windlass why {name}` tells more"
                )))
            }
            _ => Ok(()),
        },
        Err(_) => Err(Failure::TimedOut(format!(
            "{} was not {} after {} seconds: `windlass describe {}` shows its state",
            args.task,
            text(
                &wanted
                    .to_possible_value()
                    .map(|it| it.get_name().to_owned())
            ),
            args.timeout,
            args.task
        ))),
    }
}

/// A task that stopped will never run: that is an end of waiting too.
fn is_reached(task: &Task, wanted: Wanted) -> bool {
    let running = wanted == Wanted::Running && text(&task.last_status) == "RUNNING";
    running || task::is_stopped(task)
}

/// Looks at a task until `is_done`.
pub(crate) async fn until(
    client: &Client,
    name: &str,
    is_done: impl Fn(&Task) -> bool,
) -> Result<Task, Failure> {
    loop {
        let task = task::find(client, name).await?;
        if is_done(&task) {
            return Ok(task);
        }
        tokio::time::sleep(limits::POLL_INTERVAL).await;
    }
}
