//! `stop`: asks that tasks stop.

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Format, Shown, readable_times};
use crate::table::Table;
use crate::task::{self, text};
use serde::Deserialize;
use serde_json::json;
use windlass_wire::ops;
use windlass_wire::shapes::task::Task;

const EXAMPLES: &str = "\
Examples:
  windlass stop 3f2a                            the first digits of an id are enough
  windlass stop 3f2a 77b0 --reason 'new config'
  windlass stop web --timeout 3                 kill what has not ended 3 seconds from now
  windlass stop web --force                     kill at once
  windlass stop 3f2a && windlass wait 3f2a stopped";

/// Stop tasks.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct StopArgs {
    /// ARNs, ids, unique beginnings of ids, or families that one task has.
    #[arg(value_name = "TASK", required = true)]
    tasks: Vec<String>,
    /// Kept with the task as its stoppedReason.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Kill what has not ended so many seconds from now, where the definition's stopTimeout is
    /// longer. Also for tasks that are stopping already.
    #[arg(long, short, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    timeout: Option<u32>,
    /// Kill at once, as --timeout 0.
    #[arg(long, short, conflicts_with = "timeout")]
    force: bool,
    #[command(flatten)]
    shown: Shown,
}

/// One that cannot be stopped does not keep the others running; the first failure is the verb's.
pub(crate) async fn run(args: StopArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let timeout = if args.force { Some(0) } else { args.timeout };
    let mut stopped = Vec::new();
    let mut failure = None;
    for name in &args.tasks {
        match stop_named(&client, name, args.reason.as_deref(), timeout).await {
            Ok(task) => stopped.push(task),
            Err(err) if failure.is_none() => failure = Some(err),
            Err(err) => context.out.note(&format!("windlass: {name}: {err}")),
        }
    }
    match args.shown.output {
        Format::Table if stopped.is_empty() => {}
        Format::Table => {
            let mut table = Table::new(&["TASK", "STATUS", "WANTED"]);
            for task in &stopped {
                let cells = [
                    task::id(task),
                    text(&task.last_status),
                    text(&task.desired_status),
                ];
                table.push(cells.map(str::to_owned));
            }
            let lines = context.out.table(&table);
            context.out.lines(&lines)?;
        }
        Format::Json => {
            let mut value = json!({ "tasks": stopped });
            readable_times(&mut value);
            context.out.json(&value)?;
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn stop_named(
    client: &Client,
    name: &str,
    reason: Option<&str>,
    timeout: Option<u32>,
) -> Result<Task, Failure> {
    let found = task::find(client, name).await?;
    match timeout {
        Some(seconds) => stop_within(client, &found, reason, seconds).await,
        None => stop(client, &found, reason).await,
    }
}

/// Asks that a task stop, and that what still runs after so many seconds be killed.
pub(crate) async fn stop_within(
    client: &Client,
    task: &Task,
    reason: Option<&str>,
    seconds: u32,
) -> Result<Task, Failure> {
    #[derive(Deserialize)]
    struct Stopped {
        task: Task,
    }
    let request = json!({ "task": task::id(task), "reason": reason, "timeoutSeconds": seconds });
    let answer = client.windlass("StopTask", &request).await?;
    let stopped: Result<Stopped, _> = serde_json::from_value(answer);
    let stopped = stopped.map_err(|err| Failure::Failed(format!("StopTask: {err}")))?;
    Ok(stopped.task)
}

/// Asks that a task stop; its state afterwards.
pub(crate) async fn stop(
    client: &Client,
    task: &Task,
    reason: Option<&str>,
) -> Result<Task, Failure> {
    let request = ops::StopTaskRequest {
        cluster: task.cluster_arn.clone(),
        task: task.task_arn.clone(),
        reason: reason.map(str::to_owned),
    };
    let answer = client.call(&request).await?;
    Ok(answer.task.unwrap_or_else(|| task.clone()))
}
