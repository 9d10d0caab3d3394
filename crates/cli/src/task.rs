//! Tasks as clients ask for and show them.

use crate::client::Client;
use crate::failure::{Failure, USAGE};
use crate::limits;
use crate::task_list;
use crate::words::last_part;
use serde::Deserialize;
use serde_json::json;
use windlass_wire::shapes::task::Task;
use windlass_wire::shapes::task_definition::TaskDefinition;
use windlass_wire::{Timestamp, ops};

/// The task that an ARN, an id or a unique beginning of one names; or a family, a
/// `family:revision`, a group or a service, where one task has it.
///
/// # Errors
/// When there is none, or several: then the failure lists them.
pub(crate) async fn find(client: &Client, name: &str) -> Result<Task, Failure> {
    let failure = match by_id(client, name).await {
        Ok(task) => return Ok(task),
        Err(failure) => failure,
    };
    // Not found, or the begin of several ids.
    if !matches!(failure.exit_code(), 3 | USAGE) {
        return Err(failure);
    }
    let found = task_list::named(client, name).await?;
    let is_digits = name.bytes().all(|digit| digit.is_ascii_hexdigit());
    match task_list::only(name, found)? {
        Some(task) => Ok(task),
        None if is_digits || name.contains('/') => Err(failure),
        None => Err(Failure::NotFound(format!(
            "no task is called {name}: neither an id begins so, nor is it the family or group of a \
             task; `windlass ps -a` lists them"
        ))),
    }
}

/// The task that an ARN, an id or a unique beginning of one names.
pub(crate) async fn by_id(client: &Client, name: &str) -> Result<Task, Failure> {
    #[derive(Deserialize)]
    struct Found {
        task: Task,
    }
    // `task/3f2a` is what histories call it.
    let name = name.strip_prefix("task/").unwrap_or(name);
    let found = client
        .windlass("FindTask", &json!({ "task": name }))
        .await?;
    let found: Result<Found, _> = serde_json::from_value(found);
    let found = found.map_err(|err| Failure::Failed(format!("FindTask: {err}")))?;
    Ok(found.task)
}

/// A task definition by family, `family:revision` or ARN.
pub(crate) async fn definition(client: &Client, name: &str) -> Result<TaskDefinition, Failure> {
    let request = ops::DescribeTaskDefinitionRequest {
        task_definition: Some(name.to_owned()),
        ..Default::default()
    };
    let answer = client
        .call(&request)
        .await
        .map_err(|failure| match failure {
            // ECS says no more than that it cannot.
            Failure::Api(err) if failure_is_not_found(&err) => Failure::NotFound(format!(
                "no task definition is called {name}: {}",
                err.message
            )),
            other => other,
        })?;
    answer.task_definition.ok_or_else(|| {
        Failure::Failed(format!(
            "DescribeTaskDefinition: the answer for {name} is empty"
        ))
    })
}

fn failure_is_not_found(err: &windlass_wire::ApiError) -> bool {
    Failure::Api(err.clone()).exit_code() == 3
}

/// What follows the cluster in a task's ARN.
pub(crate) fn id(task: &Task) -> &str {
    last_part(text(&task.task_arn))
}

/// The id, where a task is named by nothing shorter.
pub(crate) fn whole_id(name: &str) -> Option<&str> {
    let is_task = !name.contains('/') || name.contains("task/");
    let id = last_part(name);
    let is_whole = id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is_task && is_whole).then_some(id)
}

/// The first digits of the id. The server gives no two known tasks the same.
pub(crate) fn short(task: &Task) -> &str {
    let id = id(task);
    id.get(..limits::SHORT_ID).unwrap_or(id)
}

pub(crate) fn is_stopped(task: &Task) -> bool {
    text(&task.last_status) == "STOPPED"
}

/// A member of the wire, empty when absent.
pub(crate) fn text(member: &Option<String>) -> &str {
    member.as_deref().unwrap_or_default()
}

pub(crate) fn millis(member: Option<Timestamp>) -> Option<i64> {
    member.map(|time| time.0)
}

/// Where the task's ports are open: `0.0.0.0:8080->80`, or the task's own address.
///
/// `host` stands for ports that are open on every address of the node, where one is wanted that can be
/// connected to.
pub(crate) fn addresses(task: &Task, host: Option<&str>) -> Vec<String> {
    let mut addresses = Vec::new();
    for container in task.containers.iter().flatten() {
        for binding in container.network_bindings.iter().flatten() {
            let ip = match text(&binding.bind_ip) {
                "" => host.unwrap_or("0.0.0.0"),
                any @ ("0.0.0.0" | "::") => host.unwrap_or(any),
                ip => ip,
            };
            let ip = if ip.contains(':') {
                format!("[{ip}]")
            } else {
                ip.to_owned()
            };
            let protocol = binding.protocol.as_ref().map(|it| it.as_str().to_owned());
            let udp = if protocol.as_deref() == Some("udp") {
                "/udp"
            } else {
                ""
            };
            let ports = match (binding.host_port, binding.container_port) {
                (Some(host), Some(inside)) => format!("{host}->{inside}"),
                _ => format!(
                    "{}->{}",
                    text(&binding.host_port_range),
                    text(&binding.container_port_range)
                ),
            };
            addresses.push(format!("{ip}:{ports}{udp}"));
        }
        for interface in container.network_interfaces.iter().flatten() {
            addresses.extend(interface.private_ipv4_address.clone());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    addresses.retain(|address| seen.insert(address.clone()));
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_one_can_connect_to() {
        let task = json!({
            "containers": [
                { "networkBindings": [
                    { "bindIP": "0.0.0.0", "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
                    { "bindIP": "10.0.0.5", "hostPort": 53, "containerPort": 53, "protocol": "udp" },
                    { "bindIP": "::", "hostPortRange": "1-2", "containerPortRange": "3-4" } ] },
                { "networkInterfaces": [{ "privateIpv4Address": "10.88.0.7" }] },
                { "networkInterfaces": [{ "privateIpv4Address": "10.88.0.7" }] },
            ]
        });
        let task: Task = serde_json::from_value(task).unwrap();
        let expected = [
            "127.0.0.1:8080->80",
            "10.0.0.5:53->53/udp",
            "127.0.0.1:1-2->3-4",
            "10.88.0.7",
        ];
        assert_eq!(addresses(&task, Some("127.0.0.1")), expected);
        assert_eq!(addresses(&task, Some("::1"))[0], "[::1]:8080->80");
        let open = addresses(&task, None);
        assert_eq!(open[..2], ["0.0.0.0:8080->80", "10.0.0.5:53->53/udp"]);
        assert_eq!(open[2], "[::]:1-2->3-4");
    }
}
