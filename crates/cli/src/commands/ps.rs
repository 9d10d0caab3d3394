//! `ps`: the tasks of all clusters, or those that are asked for.

mod filter;
mod watch;

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::limits;
use crate::output::{Format, Output, Shown, readable_times};
use crate::table::Table;
use crate::task::{self, text};
use crate::task_list::{self, Wanted};
use crate::words;
use filter::Filter;
use serde_json::json;
use std::collections::BTreeSet;
use windlass_wire::shapes::task::Task;

const EXAMPLES: &str = "\
Examples:
  windlass ps                              tasks that run, start or stop
  windlass ps -a                           also those that have stopped, with their exit codes
  windlass ps --filter family=web --filter status=RUNNING
  windlass stop $(windlass ps -q --filter group=nightly)
  windlass ps --watch                      until Ctrl-C
  windlass ps --cluster batch --output json

Keys of --filter: cluster, container, definition, exit, family, group, health, image, launch-type,
name (family or group), started-by, status, tag (tag=KEY or tag=KEY=VALUE), task (begin of an id).
Of one key several times one must fit; of several keys all must.";

/// List tasks.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PsArgs {
    /// Also tasks that have stopped.
    #[arg(long, short)]
    all: bool,
    /// Only this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Only the tasks' whole ids, one a line.
    #[arg(long, short, conflicts_with = "output")]
    quiet: bool,
    /// Only tasks of which this is true; may be given several times.
    #[arg(long, short, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Show it again whenever it changes, until Ctrl-C: a terminal is drawn anew, a pipe gets one
    /// list after the other.
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    shown: Shown,
}

pub(crate) async fn run(args: PsArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    if args.watch {
        return watch::run(&args, context).await;
    }
    let client = context.client()?;
    let tasks = tasks(&args, &client).await?;
    if tasks.is_empty() && !args.quiet && args.shown.output == Format::Table {
        context.out.hint(nothing(&args));
    }
    let lines = render(&args, &tasks, &context.out)?;
    context.out.lines(&lines)
}

async fn tasks(args: &PsArgs, client: &Client) -> Result<Vec<Task>, Failure> {
    let wanted = Wanted {
        cluster: args.cluster.clone(),
        family: filter::family(&args.filter),
        stopped: args.all || filter::asks_for_stopped(&args.filter),
    };
    let mut tasks = task_list::tasks(client, &wanted).await?;
    tasks.retain(|task| filter::fits(&args.filter, task));
    Ok(tasks)
}

fn nothing(args: &PsArgs) -> &'static str {
    match (args.filter.is_empty(), args.all) {
        (false, true) => "no task fits",
        (false, false) => "no task that runs fits; `windlass ps -a` looks at stopped ones too",
        (true, true) => "no task is known; `windlass run FILE` starts one",
        (true, false) => {
            "no task runs; `windlass run FILE` starts one, `windlass ps -a` shows those that have \
             stopped"
        }
    }
}

fn render(args: &PsArgs, tasks: &[Task], out: &Output) -> Result<Vec<String>, Failure> {
    if args.quiet {
        return Ok(tasks.iter().map(|task| task::id(task).to_owned()).collect());
    }
    match args.shown.output {
        Format::Json => {
            let mut value = json!({ "tasks": tasks });
            readable_times(&mut value);
            // Of a list that is followed each state is one line.
            Ok(vec![match args.watch {
                true => value.to_string(),
                false => format!("{value:#}"),
            }])
        }
        Format::Table => {
            let now = jiff::Timestamp::now().as_millisecond();
            Ok(out.table(&list(tasks, now)))
        }
    }
}

fn list(tasks: &[Task], now_ms: i64) -> Table {
    let ids: BTreeSet<&str> = tasks.iter().map(task::id).collect();
    let mut table = Table::new(&[
        "TASK",
        "CLUSTER",
        "DEFINITION",
        "STATUS",
        "HEALTH",
        "LAUNCH",
        "ADDRESSES",
        "AGE",
        "EXIT",
        "REASON",
    ]);
    for task in tasks {
        let age = task::millis(task.created_at).map(|at| words::age(now_ms.saturating_sub(at)));
        let health = task.health_status.as_ref().map(|it| it.as_str().to_owned());
        // A task without a health check has no health to show.
        let health = health.filter(|health| health != "UNKNOWN");
        table.push([
            words::short(task::id(task), &ids, limits::SHORT_ID),
            words::last_part(text(&task.cluster_arn)).to_owned(),
            words::last_part(text(&task.task_definition_arn)).to_owned(),
            text(&task.last_status).to_owned(),
            health.unwrap_or_default(),
            task.launch_type
                .as_ref()
                .map(|it| it.as_str().to_owned())
                .unwrap_or_default(),
            addresses(task),
            age.unwrap_or_default(),
            exit_codes(task),
            reason(task),
        ]);
    }
    table
}

/// As they are open. Ports are free again when a task has stopped.
fn addresses(task: &Task) -> String {
    match task::is_stopped(task) {
        true => String::new(),
        false => task::addresses(task, None).join(","),
    }
}

/// Why it stopped, and what a container has to say of its own end.
fn reason(task: &Task) -> String {
    let of_containers = task.containers.iter().flatten();
    let reasons = of_containers.filter_map(|container| container.reason.as_deref());
    let mut shown = vec![text(&task.stopped_reason)];
    for reason in reasons {
        if !shown.iter().any(|known| known.contains(reason)) {
            shown.push(reason);
        }
    }
    shown.retain(|reason| !reason.is_empty());
    shown.join("; ")
}

/// The code of the only container, or `name=code` of each that has one.
fn exit_codes(task: &Task) -> String {
    let containers = task.containers.as_deref().unwrap_or_default();
    if let [only] = containers {
        return only
            .exit_code
            .map(|code| code.to_string())
            .unwrap_or_default();
    }
    let codes = containers.iter().filter_map(|container| {
        Some(format!(
            "{}={}",
            text(&container.name),
            container.exit_code?
        ))
    });
    codes.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_listed_with_what_matters() {
        let arn = "arn:aws:ecs:us-east-1:000000000000:";
        let tasks = json!([
            {
                "taskArn": format!("{arn}task/default/3f2a0000aaaa"), "lastStatus": "RUNNING",
                "clusterArn": format!("{arn}cluster/default"), "healthStatus": "HEALTHY",
                "taskDefinitionArn": format!("{arn}task-definition/web:3"), "launchType": "EC2",
                "createdAt": 1000.0,
                "containers": [{ "name": "web", "networkBindings": [
                    { "bindIP": "0.0.0.0", "hostPort": 8080, "containerPort": 80 }] }],
            },
            {
                "taskArn": format!("{arn}task/default/3f2a0000bbbb"), "lastStatus": "STOPPED",
                "clusterArn": format!("{arn}cluster/default"), "healthStatus": "UNKNOWN",
                "taskDefinitionArn": format!("{arn}task-definition/job:1"), "launchType": "FARGATE",
                "createdAt": 1000.0, "stoppedReason": "Essential container in task exited",
                "containers": [{ "name": "a", "exitCode": 137, "reason": "OutOfMemoryError: killed" }, { "name": "b", "exitCode": 0 }, { "name": "c" }],
            },
        ]);
        let tasks: Vec<Task> = serde_json::from_value(tasks).unwrap();
        assert_eq!(
            list(&tasks, 1_090_000).render(false),
            [
                "TASK       CLUSTER  DEFINITION  STATUS   HEALTH   LAUNCH   ADDRESSES         AGE  EXIT       REASON",
                "3f2a0000a  default  web:3       RUNNING  HEALTHY  EC2      0.0.0.0:8080->80  90s  -          -",
                "3f2a0000b  default  job:1       STOPPED  -        FARGATE  -                 90s  a=137,b=0  Essential container in task exited; OutOfMemoryError: killed",
            ]
        );
    }
}
