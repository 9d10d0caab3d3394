//! `--filter KEY=VALUE`: which tasks are listed.

use crate::task::{self, text};
use crate::words::last_part;
use std::str::FromStr;
use windlass_wire::shapes::task::Task;

/// What a task must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    key: Key,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Cluster,
    Container,
    Definition,
    Exit,
    Family,
    Group,
    Health,
    Image,
    LaunchType,
    Name,
    StartedBy,
    Status,
    Tag,
    Task,
}

const KEYS: [(&str, Key); 14] = [
    ("cluster", Key::Cluster),
    ("container", Key::Container),
    ("definition", Key::Definition),
    ("exit", Key::Exit),
    ("family", Key::Family),
    ("group", Key::Group),
    ("health", Key::Health),
    ("image", Key::Image),
    ("launch-type", Key::LaunchType),
    ("name", Key::Name),
    ("started-by", Key::StartedBy),
    ("status", Key::Status),
    ("tag", Key::Tag),
    ("task", Key::Task),
];

/// Of every task that is known.
const STATUSES: [&str; 8] = [
    "PROVISIONING",
    "PENDING",
    "ACTIVATING",
    "RUNNING",
    "DEACTIVATING",
    "STOPPING",
    "DEPROVISIONING",
    "STOPPED",
];
const HEALTH: [&str; 3] = ["HEALTHY", "UNHEALTHY", "UNKNOWN"];
const LAUNCH_TYPES: [&str; 4] = ["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"];

impl FromStr for Filter {
    type Err = String;

    fn from_str(given: &str) -> Result<Filter, String> {
        let (name, value) = given
            .split_once('=')
            .ok_or("a filter looks like status=RUNNING")?;
        let known = KEYS.iter().find(|(known, _)| *known == name);
        let (_, key) = known.ok_or_else(|| {
            let names: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
            format!("no key is called {name}: there are {}", names.join(", "))
        })?;
        let one_of = |all: &[&str]| {
            let wanted = value.to_ascii_uppercase().replace('-', "_");
            let all_of_it = all.join(", ");
            match all.contains(&wanted.as_str()) {
                true => Ok(wanted),
                false => Err(format!("{name} is one of {all_of_it}, not {value}")),
            }
        };
        let value = match key {
            Key::Status => one_of(&STATUSES)?,
            Key::Health => one_of(&HEALTH)?,
            Key::LaunchType => one_of(&LAUNCH_TYPES)?,
            Key::Exit if value.parse::<i32>().is_err() => {
                return Err(format!("exit is a number, not {value}"));
            }
            _ if value.is_empty() => return Err(format!("{name} needs a value")),
            _ => value.to_owned(),
        };
        Ok(Filter { key: *key, value })
    }
}

/// The family to ask the server for, where that alone is wanted.
pub(super) fn family(filters: &[Filter]) -> Option<String> {
    let mut families = filters.iter().filter(|it| it.key == Key::Family);
    match (families.next(), families.next()) {
        (Some(only), None) => Some(only.value.clone()),
        _ => None,
    }
}

/// Whether a filter names what only tasks that have stopped have.
pub(super) fn asks_for_stopped(filters: &[Filter]) -> bool {
    filters
        .iter()
        .any(|it| it.key == Key::Exit || it.key == Key::Status && it.value == "STOPPED")
}

/// Whether of every key that is named one filter is true of the task.
pub(super) fn fits(filters: &[Filter], task: &Task) -> bool {
    let of_key = |key: Key| filters.iter().filter(move |it| it.key == key);
    filters
        .iter()
        .all(|it| of_key(it.key).any(|one| is_true(one, task)))
}

fn is_true(filter: &Filter, task: &Task) -> bool {
    let value = filter.value.as_str();
    let definition = last_part(text(&task.task_definition_arn));
    let family = definition.split(':').next().unwrap_or(definition);
    let mut containers = task.containers.iter().flatten();
    match filter.key {
        Key::Cluster => {
            let arn = text(&task.cluster_arn);
            arn == value || last_part(arn) == value
        }
        Key::Container => containers.any(|it| text(&it.name) == value),
        Key::Definition => definition == value || text(&task.task_definition_arn) == value,
        Key::Exit => containers.any(|it| it.exit_code.is_some_and(|it| it.to_string() == value)),
        Key::Family => family == value,
        Key::Group => text(&task.group) == value,
        Key::Health => task.health_status.as_ref().map(|it| it.as_str()) == Some(value),
        Key::Image => containers.any(|it| text(&it.image) == value),
        Key::LaunchType => task.launch_type.as_ref().map(|it| it.as_str()) == Some(value),
        Key::Name => {
            let group = text(&task.group);
            family == value || group == value || group.strip_prefix("service:") == Some(value)
        }
        Key::StartedBy => text(&task.started_by) == value,
        Key::Status => text(&task.last_status) == value,
        Key::Tag => {
            let (key, wanted) = match value.split_once('=') {
                Some((key, wanted)) => (key, Some(wanted)),
                None => (value, None),
            };
            let mut tags = task.tags.iter().flatten();
            tags.any(|tag| {
                text(&tag.key) == key && wanted.is_none_or(|wanted| text(&tag.value) == wanted)
            })
        }
        Key::Task => task::id(task).starts_with(value) || text(&task.task_arn) == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filters(text: &[&str]) -> Vec<Filter> {
        text.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn of_each_key_one_must_fit() {
        let task: Task = serde_json::from_value(json!({
            "taskArn": "arn:aws:ecs:us-east-1:0:task/batch/3f2a", "lastStatus": "STOPPED",
            "clusterArn": "arn:aws:ecs:us-east-1:0:cluster/batch", "healthStatus": "UNKNOWN",
            "taskDefinitionArn": "arn:aws:ecs:us-east-1:0:task-definition/job:3",
            "group": "service:front", "launchType": "FARGATE", "startedBy": "a=b",
            "containers": [{ "name": "app", "image": "x:1", "exitCode": 3 }, { "name": "side" }],
            "tags": [{ "key": "team", "value": "x=y" }, { "key": "bare", "value": "" }],
        }))
        .unwrap();
        for (given, expected) in [
            (&[][..], true),
            (&["status=stopped"], true),
            (&["status=RUNNING"], false),
            (&["status=RUNNING", "status=STOPPED"], true),
            (&["status=STOPPED", "family=web"], false),
            (&["cluster=batch", "definition=job:3", "family=job"], true),
            (&["definition=job"], false),
            (&["exit=3", "container=side", "image=x:1"], true),
            (&["exit=0"], false),
            (&["name=front"], true),
            (&["name=job"], true),
            (&["group=front"], false),
            (&["group=service:front", "launch-type=fargate"], true),
            (&["started-by=a=b", "health=unknown", "task=3f"], true),
            (&["tag=team"], true),
            (&["tag=team=x=y"], true),
            (&["tag=team=x"], false),
            (&["tag=bare="], true),
            (&["tag=other"], false),
        ] {
            assert_eq!(fits(&filters(given), &task), expected, "{given:?}");
        }
    }

    #[test]
    fn what_no_task_can_have_is_refused() {
        for (given, word) in [
            ("status", "looks like"),
            ("colour=red", "cluster, container"),
            ("status=UP", "RUNNING"),
            ("health=ill", "UNHEALTHY"),
            ("launch-type=x", "FARGATE"),
            ("exit=one", "number"),
            ("family=", "needs a value"),
        ] {
            let err = given.parse::<Filter>().unwrap_err();
            assert!(err.contains(word), "{given}: {err}");
        }
    }

    #[test]
    fn what_is_over_is_looked_at_where_it_is_meant() {
        assert!(asks_for_stopped(&filters(&["exit=0"])));
        assert!(asks_for_stopped(&filters(&["status=stopped"])));
        assert!(!asks_for_stopped(&filters(&[
            "status=STOPPING",
            "family=web"
        ])));
        assert_eq!(family(&filters(&["family=web"])).as_deref(), Some("web"));
        assert_eq!(family(&filters(&["family=web", "family=job"])), None);
    }
}
