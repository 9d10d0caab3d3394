//! Lists of tasks: those of a cluster or of all, and those that a person's name means.

use crate::client::Client;
use crate::failure::Failure;
use crate::limits;
use crate::task::{is_stopped, short, text};
use crate::words::last_part;
use windlass_wire::ops;
use windlass_wire::ops::describe_tasks::TaskField;
use windlass_wire::ops::list_tasks::DesiredStatus;
use windlass_wire::shapes::task::Task;

/// Which tasks a list has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Name or ARN; every cluster when nothing.
    pub(crate) cluster: Option<String>,
    pub(crate) family: Option<String>,
    /// Also those that have stopped.
    pub(crate) stopped: bool,
}

/// The tasks, the oldest first. One that is to stop and has not is of those that run.
pub(crate) async fn tasks(client: &Client, wanted: &Wanted) -> Result<Vec<Task>, Failure> {
    let clusters = match &wanted.cluster {
        Some(cluster) => vec![cluster.clone()],
        None => clusters(client).await?,
    };
    let mut tasks = Vec::new();
    for cluster in &clusters {
        tasks.extend(of(client, cluster, wanted, DesiredStatus::Running).await?);
        let mut others = of(client, cluster, wanted, DesiredStatus::Stopped).await?;
        others.retain(|task| wanted.stopped || !is_stopped(task));
        tasks.extend(others);
    }
    tasks.sort_by_key(|task| (task.created_at, task.task_arn.clone()));
    // One whose stop was asked for in between is in both lists.
    tasks.dedup_by(|a, b| a.task_arn == b.task_arn);
    Ok(tasks)
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
    Err(endless("ListClusters"))
}

pub(crate) fn endless(operation: &str) -> Failure {
    Failure::Failed(format!("{operation}: the pages have no end"))
}

async fn of(
    client: &Client,
    cluster: &str,
    wanted: &Wanted,
    desired: DesiredStatus,
) -> Result<Vec<Task>, Failure> {
    let mut tasks = Vec::new();
    let mut request = ops::ListTasksRequest {
        cluster: Some(cluster.to_owned()),
        family: wanted.family.clone(),
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
                include: Some(vec![TaskField::Tags]),
            };
            // One that was forgotten since the list was made is a failure in it: nothing to show.
            tasks.extend(client.call(&describe).await?.tasks.unwrap_or_default());
        }
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            return Ok(tasks);
        }
    }
    Err(endless("ListTasks"))
}

/// The tasks that a family, `family:revision`, group or service names: those that run, and only
/// where none does those that have stopped.
pub(crate) async fn named(client: &Client, name: &str) -> Result<Vec<Task>, Failure> {
    let family = name.split(':').next().unwrap_or(name);
    let is_id = name.starts_with("arn:") || crate::task::whole_id(name).is_some();
    if is_id || !is_family(family) {
        return Ok(Vec::new());
    }
    let mut wanted = Wanted {
        family: Some(family.to_owned()),
        stopped: true,
        ..Wanted::default()
    };
    let mut found = tasks(client, &wanted).await?;
    if found.is_empty() {
        // A group may have any name, and ListTasks has no filter for it.
        wanted.family = None;
        found = tasks(client, &wanted).await?;
    }
    found.retain(|task| is_called(task, name));
    if found.iter().any(|task| !is_stopped(task)) {
        found.retain(|task| !is_stopped(task));
    }
    Ok(found)
}

fn is_family(name: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !name.is_empty() && name.len() <= limits::FAMILY_CHARS_MAX && name.bytes().all(known)
}

/// Whether a task is of that family, that revision or that group.
fn is_called(task: &Task, name: &str) -> bool {
    let definition = last_part(text(&task.task_definition_arn));
    let family = definition.split(':').next().unwrap_or(definition);
    let group = text(&task.group);
    let of_service = group.strip_prefix("service:");
    definition == name || family == name || group == name || of_service == Some(name)
}

/// The one task that was found, or the failure that lists those that may be meant.
pub(crate) fn only(name: &str, mut found: Vec<Task>) -> Result<Option<Task>, Failure> {
    if found.len() < 2 {
        return Ok(found.pop());
    }
    let count = found.len();
    // The newest are those that are likeliest meant.
    let shown = found.iter().rev().take(limits::CANDIDATES_MAX);
    let lines: Vec<String> = shown.map(candidate).collect();
    let rest = match count.saturating_sub(lines.len()) {
        0 => String::new(),
        more => format!("\n  and {more} more: `windlass ps -a --filter family={name}`"),
    };
    Err(Failure::Usage(format!(
        "{count} tasks are called {name}; name one by its id:\n{}{rest}",
        lines.join("\n")
    )))
}

fn candidate(task: &Task) -> String {
    let cluster = last_part(text(&task.cluster_arn));
    let definition = last_part(text(&task.task_definition_arn));
    let status = text(&task.last_status);
    let created = task.created_at.map(|at| crate::words::rfc3339(at.0));
    let created = created.unwrap_or_default();
    format!(
        "  {}  {definition}  {status}  in {cluster}, created {created}",
        short(task)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(id: &str, definition: &str, group: &str) -> Task {
        let value = json!({
            "taskArn": format!("arn:aws:ecs:us-east-1:0:task/default/{id}"),
            "clusterArn": "arn:aws:ecs:us-east-1:0:cluster/default",
            "taskDefinitionArn": format!("arn:aws:ecs:us-east-1:0:task-definition/{definition}"),
            "group": group, "lastStatus": "RUNNING", "createdAt": 1.5,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_name_is_a_family_a_revision_or_a_group() {
        let web = task("aa", "web:3", "service:front");
        for (name, expected) in [
            ("web", true),
            ("web:3", true),
            ("web:2", false),
            ("front", true),
            ("service:front", true),
            ("we", false),
            ("", false),
        ] {
            assert_eq!(is_called(&web, name), expected, "{name}");
        }
    }

    #[test]
    fn several_of_a_name_are_listed() {
        assert!(only("web", Vec::new()).unwrap().is_none());
        let one = task("3f2a0000bbbb", "web:3", "g");
        assert_eq!(only("web", vec![one.clone()]).unwrap(), Some(one.clone()));
        let err = only("web", vec![task("77b00000aaaa", "web:2", "g"), one]).unwrap_err();
        assert_eq!(err.exit_code(), 64);
        let text = err.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "2 tasks are called web; name one by its id:");
        assert_eq!(
            lines[1],
            "  3f2a0000  web:3  RUNNING  in default, created 1970-01-01T00:00:01.5Z"
        );
        let many = vec![task("aa", "web:1", "g"); 30];
        let text = only("web", many).unwrap_err().to_string();
        assert!(
            text.ends_with("`windlass ps -a --filter family=web`"),
            "{text}"
        );
    }
}
