//! Who has the host port that a task finds taken.

use crate::client::Client;
use crate::failure::Failure;
use crate::task::{self, text};
use crate::task_list::{self, Wanted};
use crate::words::last_part;
use serde_json::json;
use std::collections::BTreeSet;
use windlass_wire::shapes::task::Task;
use windlass_wire::shapes::task_definition::{NetworkMode, TaskDefinition};

/// A sentence that names the tasks, or the ports that programs of the machine have; nothing when
/// nobody has one any more.
pub(super) async fn who_has(
    client: &Client,
    definition: &TaskDefinition,
) -> Result<Option<String>, Failure> {
    let ports = wanted(definition);
    let tasks = task_list::tasks(client, &Wanted::default()).await?;
    let of_tasks = by_tasks(&ports, &tasks);
    if !of_tasks.is_empty() {
        return Ok(Some(of_tasks.join(", ")));
    }
    let nodes = client.windlass("ListNodes", &json!({})).await?;
    let nodes = nodes.get("nodes").and_then(|it| it.as_array());
    let in_use = nodes
        .into_iter()
        .flatten()
        .filter_map(|node| node.get("portsInUse"));
    let in_use = in_use.filter_map(|it| it.as_array()).flatten();
    let in_use: BTreeSet<i64> = in_use.filter_map(|it| it.as_i64()).collect();
    let programs = ports
        .iter()
        .filter(|port| in_use.contains(&i64::from(**port)));
    let programs: Vec<String> = programs
        .map(|port| {
            format!(
                "a program on the machine has port {port} (`sudo ss -lntup 'sport = :{port}'` shows \
                 which)"
            )
        })
        .collect();
    Ok((!programs.is_empty()).then(|| programs.join(", ")))
}

/// The host ports that a task of the definition takes.
fn wanted(definition: &TaskDefinition) -> BTreeSet<i32> {
    let is_host = definition.network_mode == Some(NetworkMode::Host);
    let containers = definition.container_definitions.iter().flatten();
    let mappings = containers.flat_map(|it| it.port_mappings.iter().flatten());
    mappings
        .filter_map(|it| {
            if is_host {
                it.container_port
            } else {
                it.host_port
            }
        })
        .filter(|port| *port != 0)
        .collect()
}

fn by_tasks(ports: &BTreeSet<i32>, tasks: &[Task]) -> Vec<String> {
    let mut found = Vec::new();
    for task in tasks {
        let containers = task.containers.iter().flatten();
        let bindings = containers.flat_map(|it| it.network_bindings.iter().flatten());
        let taken: BTreeSet<i32> = bindings
            .filter_map(|it| it.host_port)
            .filter(|port| ports.contains(port))
            .collect();
        found.extend(taken.iter().map(|port| {
            let definition = last_part(text(&task.task_definition_arn));
            format!("task {} ({definition}) has port {port}", task::short(task))
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_that_has_a_port_is_named() {
        let definition = |mode: &str| -> TaskDefinition {
            let mappings = json!([{ "containerPort": 80, "hostPort": 8080 }, { "containerPort": 81, "hostPort": 0 }]);
            let value = json!({ "networkMode": mode, "containerDefinitions": [{ "portMappings": mappings }] });
            serde_json::from_value(value).unwrap()
        };
        assert_eq!(wanted(&definition("bridge")), [8080].into());
        assert_eq!(wanted(&definition("host")), [80, 81].into());
        let task: Task = serde_json::from_value(json!({
            "taskArn": "arn:task/default/3f2a0000bbbb", "taskDefinitionArn": "arn:task-definition/web:3",
            "containers": [{ "networkBindings": [{ "hostPort": 8080 }, { "hostPort": 9 }] }],
        }))
        .unwrap();
        let expected = ["task 3f2a0000 (web:3) has port 8080"];
        assert_eq!(
            by_tasks(&[8080].into(), std::slice::from_ref(&task)),
            expected
        );
        assert!(by_tasks(&[80].into(), &[task]).is_empty());
    }
}
