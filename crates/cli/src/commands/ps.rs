//! `ps`: the tasks of all clusters.

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::limits;
use crate::output::{Format, Shown, readable_times};
use crate::table::Table;
use crate::task::{self, text};
use crate::words;
use serde_json::json;
use std::collections::BTreeSet;
use windlass_wire::ops;
use windlass_wire::ops::list_tasks::DesiredStatus;
use windlass_wire::shapes::task::Task;

const EXAMPLES: &str = "\
Examples:
  windlass ps                      tasks that run or are wanted to
  windlass ps -a                   also those that have stopped, with their exit codes
  windlass ps --cluster batch --output json";

/// List tasks.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PsArgs {
    /// Also tasks that have stopped or are stopping.
    #[arg(long, short)]
    all: bool,
    /// Only this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

pub(crate) async fn run(args: PsArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let clusters = match args.cluster {
        Some(cluster) => vec![cluster],
        None => clusters(&client).await?,
    };
    let mut tasks = Vec::new();
    for cluster in &clusters {
        tasks.extend(tasks_of(&client, cluster, DesiredStatus::Running).await?);
        if args.all {
            tasks.extend(tasks_of(&client, cluster, DesiredStatus::Stopped).await?);
        }
    }
    // Newest last, next to the prompt.
    tasks.sort_by_key(|task| (task.created_at, task.task_arn.clone()));
    match args.shown.output {
        Format::Json => {
            let mut value = json!({ "tasks": tasks });
            readable_times(&mut value);
            context.out.json(&value)
        }
        Format::Table => {
            if tasks.is_empty() {
                context.out.hint(match args.all {
                    true => "no task is known; `windlass run FILE` starts one",
                    false => {
                        "no task runs; `windlass run FILE` starts one, `windlass ps -a` shows \
                              those that have stopped"
                    }
                });
            }
            let now = jiff::Timestamp::now().as_millisecond();
            let table = list(&tasks, now);
            context.out.lines(&table.render(context.out.colour))
        }
    }
}

/// The ARNs of all clusters.
pub(crate) async fn clusters(client: &Client) -> Result<Vec<String>, Failure> {
    let mut arns = Vec::new();
    let mut request = ops::ListClustersRequest::default();
    for _ in 0..limits::PAGES_MAX {
        let page = client.call(&request).await?;
        arns.extend(page.cluster_arns.unwrap_or_default());
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            return Ok(arns);
        }
    }
    Err(Failure::Failed(
        "ListClusters: the pages have no end".to_owned(),
    ))
}

async fn tasks_of(
    client: &Client,
    cluster: &str,
    desired: DesiredStatus,
) -> Result<Vec<Task>, Failure> {
    let mut tasks = Vec::new();
    let mut request = ops::ListTasksRequest {
        cluster: Some(cluster.to_owned()),
        desired_status: Some(desired),
        max_results: i32::try_from(limits::PAGE_MAX).ok(),
        ..Default::default()
    };
    for _ in 0..limits::PAGES_MAX {
        let page = client.call(&request).await?;
        let arns = page.task_arns.unwrap_or_default();
        for some in arns.chunks(limits::PAGE_MAX) {
            let describe = ops::DescribeTasksRequest {
                cluster: Some(cluster.to_owned()),
                tasks: Some(some.to_vec()),
                ..Default::default()
            };
            // One that was forgotten since the list was made is a failure in it: nothing to show.
            tasks.extend(client.call(&describe).await?.tasks.unwrap_or_default());
        }
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            return Ok(tasks);
        }
    }
    Err(Failure::Failed(
        "ListTasks: the pages have no end".to_owned(),
    ))
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
