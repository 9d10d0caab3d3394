//! `describe`: all that is known of one thing.

mod isolation;

use super::Context;
use super::nodes::{self, Node};
use super::thing::{self, Thing};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Format, Shown, readable_times};
use crate::table::fields;
use crate::task::{self, text};
use crate::words::{self, last_part};
use serde_json::{Value, json};
use windlass_wire::Timestamp;
use windlass_wire::shapes::cluster::Cluster;
use windlass_wire::shapes::container::Container;
use windlass_wire::shapes::container_definition::ContainerDefinition;
use windlass_wire::shapes::container_instance::ContainerInstance;
use windlass_wire::shapes::task::Task;
use windlass_wire::shapes::task_definition::TaskDefinition;

const EXAMPLES: &str = "\
Examples:
  windlass describe 3f2a                a task, by the first digits of its id
  windlass describe web:3               a task definition
  windlass describe cluster/default     or instance/ID, node/ID, definition/FAMILY, task/ID
  windlass describe arn:aws:ecs:…       anything that has an ARN";

/// Show all that is known of a task, definition, cluster, instance or node.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DescribeArgs {
    /// ARN, id, name, or KIND/NAME.
    #[arg(value_name = "THING")]
    thing: String,
    #[command(flatten)]
    shown: Shown,
}

pub(crate) async fn run(args: DescribeArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let thing = thing::find(&client, &args.thing).await?;
    let json = args.shown.output == Format::Json;
    let (value, lines) = match thing {
        Thing::Task(task) => {
            let (node, definition) = if json {
                (None, None)
            } else {
                (
                    node_of(&client, &task).await?,
                    definition_of(&client, &task).await?,
                )
            };
            let lines = show_task(&task, node.as_ref(), definition.as_ref(), client.host());
            (json!({ "task": task }), lines)
        }
        Thing::Definition(it) => (json!({ "taskDefinition": it }), show_definition(&it)),
        Thing::Cluster(it) => (json!({ "cluster": it }), show_cluster(&it)),
        Thing::Instance(it, node) => {
            let lines = show_instance(&it, node.as_ref());
            (json!({ "containerInstance": it }), lines)
        }
        Thing::Node(it) => (json!({ "node": it }), show_node(&it)),
    };
    if json {
        let mut value: Value = value;
        readable_times(&mut value);
        return context.out.json(&value);
    }
    context.out.lines(&lines)
}

/// The node that a task is on: by its instance, or, as FARGATE shows none, by its history.
async fn node_of(client: &Client, task: &Task) -> Result<Option<Node>, Failure> {
    let entries = super::history::entries(client, &format!("task/{}", task::id(task))).await?;
    let placed = entries.iter().find(|entry| entry.event == "placed");
    let Some(id) = placed.map(|entry| entry.text("node").to_owned()) else {
        return Ok(None);
    };
    Ok(nodes::nodes(client)
        .await?
        .into_iter()
        .find(|node| node.id == id))
}

/// The task's revision: kept for as long as the task is, deregistered or not.
async fn definition_of(client: &Client, task: &Task) -> Result<Option<TaskDefinition>, Failure> {
    match task::definition(client, text(&task.task_definition_arn)).await {
        Ok(definition) => Ok(Some(definition)),
        Err(Failure::NotFound(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

fn show_task(
    task: &Task,
    node: Option<&Node>,
    definition: Option<&TaskDefinition>,
    host: &str,
) -> Vec<String> {
    let part = |arn: &Option<String>| last_part(text(arn)).to_owned();
    let mut lines = fields(
        0,
        &[
            ("task", task::id(task).to_owned()),
            ("cluster", part(&task.cluster_arn)),
            ("definition", part(&task.task_definition_arn)),
            ("status", text(&task.last_status).to_owned()),
            ("wanted", text(&task.desired_status).to_owned()),
            (
                "health",
                task.health_status
                    .as_ref()
                    .map(|it| it.as_str().to_owned())
                    .unwrap_or_default(),
            ),
            (
                "launch type",
                task.launch_type
                    .as_ref()
                    .map(|it| it.as_str().to_owned())
                    .unwrap_or_default(),
            ),
            ("addresses", task::addresses(task, Some(host)).join(", ")),
            ("cpu", text(&task.cpu).to_owned()),
            (
                "memory",
                task.memory
                    .as_ref()
                    .map(|mib| format!("{mib} MiB"))
                    .unwrap_or_default(),
            ),
            ("group", text(&task.group).to_owned()),
            ("started by", text(&task.started_by).to_owned()),
            (
                "node",
                node.map(|node| format!("{} ({})", node.name, node.address))
                    .unwrap_or_default(),
            ),
            (
                "isolation",
                node.map(|node| node.isolation.clone()).unwrap_or_default(),
            ),
            ("created", time(task.created_at)),
            ("started", time(task.started_at)),
            ("stopped", time(task.stopped_at)),
            (
                "stop code",
                task.stop_code
                    .as_ref()
                    .map(|it| it.as_str().to_owned())
                    .unwrap_or_default(),
            ),
            ("stopped because", text(&task.stopped_reason).to_owned()),
            ("arn", text(&task.task_arn).to_owned()),
        ],
    );
    for container in task.containers.iter().flatten() {
        lines.push(String::new());
        lines.extend(show_container(container));
        if let Some(definition) = definition {
            let all = definition.container_definitions.iter().flatten();
            let mut named = all.filter(|it| it.name == container.name);
            let isolation = named.next().map(|it| isolation::of(definition, it, task));
            lines.extend(fields(2, &isolation.unwrap_or_default()));
        }
    }
    lines
}

fn show_container(container: &Container) -> Vec<String> {
    let mut lines = fields(0, &[("container", text(&container.name).to_owned())]);
    lines.extend(fields(
        2,
        &[
            ("status", text(&container.last_status).to_owned()),
            (
                "exit code",
                container
                    .exit_code
                    .map(words::exit_code)
                    .unwrap_or_default(),
            ),
            ("reason", text(&container.reason).to_owned()),
            (
                "health",
                container
                    .health_status
                    .as_ref()
                    .map(|it| it.as_str().to_owned())
                    .unwrap_or_default(),
            ),
            ("image", text(&container.image).to_owned()),
            ("digest", text(&container.image_digest).to_owned()),
            ("cpu", text(&container.cpu).to_owned()),
            (
                "memory",
                container
                    .memory
                    .as_ref()
                    .map(|mib| format!("{mib} MiB"))
                    .unwrap_or_default(),
            ),
            ("runtime id", text(&container.runtime_id).to_owned()),
        ],
    ));
    lines
}

fn show_definition(definition: &TaskDefinition) -> Vec<String> {
    let words = |list: Vec<String>| list.join(", ");
    let of = definition
        .compatibilities
        .iter()
        .flatten()
        .map(|it| it.as_str().to_owned());
    let volumes = definition
        .volumes
        .iter()
        .flatten()
        .map(|it| text(&it.name).to_owned());
    let mut lines = fields(
        0,
        &[
            (
                "definition",
                last_part(text(&definition.task_definition_arn)).to_owned(),
            ),
            (
                "status",
                definition
                    .status
                    .as_ref()
                    .map(|it| it.as_str().to_owned())
                    .unwrap_or_default(),
            ),
            ("runs on", words(of.collect())),
            (
                "network",
                definition
                    .network_mode
                    .as_ref()
                    .map(|it| it.as_str().to_owned())
                    .unwrap_or_default(),
            ),
            ("cpu", text(&definition.cpu).to_owned()),
            (
                "memory",
                definition
                    .memory
                    .as_ref()
                    .map(|mib| format!("{mib} MiB"))
                    .unwrap_or_default(),
            ),
            ("volumes", words(volumes.collect())),
            ("registered", time(definition.registered_at)),
            ("registered by", text(&definition.registered_by).to_owned()),
            ("arn", text(&definition.task_definition_arn).to_owned()),
        ],
    );
    for container in definition.container_definitions.iter().flatten() {
        lines.push(String::new());
        lines.extend(show_container_definition(container));
    }
    lines
}

fn show_container_definition(container: &ContainerDefinition) -> Vec<String> {
    let ports = container.port_mappings.iter().flatten().map(|port| {
        let inside = port.container_port.map(|it| it.to_string());
        let inside = inside.unwrap_or_else(|| text(&port.container_port_range).to_owned());
        match port.host_port.filter(|port| *port != 0) {
            Some(host) => format!("{host}->{inside}"),
            None => inside,
        }
    });
    let after = container.depends_on.iter().flatten().map(|it| {
        let condition = it
            .condition
            .as_ref()
            .map(|it| it.as_str().to_owned())
            .unwrap_or_default();
        format!("{} {condition}", text(&it.container_name))
    });
    let mib = |mib: Option<i32>| mib.map(|mib| format!("{mib} MiB")).unwrap_or_default();
    // Values of variables may be secrets; --output json shows them to who asks.
    let variables = container
        .environment
        .iter()
        .flatten()
        .map(|it| text(&it.name).to_owned());
    let essential = container.essential != Some(false);
    let mut lines = fields(0, &[("container", text(&container.name).to_owned())]);
    lines.extend(fields(
        2,
        &[
            ("image", text(&container.image).to_owned()),
            (
                "essential",
                (if essential { "yes" } else { "no" }).to_owned(),
            ),
            (
                "cpu",
                container
                    .cpu
                    .filter(|cpu| *cpu > 0)
                    .map(|cpu| cpu.to_string())
                    .unwrap_or_default(),
            ),
            ("memory", mib(container.memory)),
            ("reservation", mib(container.memory_reservation)),
            (
                "entry point",
                container
                    .entry_point
                    .as_deref()
                    .unwrap_or_default()
                    .join(" "),
            ),
            (
                "command",
                container.command.as_deref().unwrap_or_default().join(" "),
            ),
            ("ports", ports.collect::<Vec<_>>().join(", ")),
            ("variables", variables.collect::<Vec<_>>().join(", ")),
            ("after", after.collect::<Vec<_>>().join(", ")),
            ("user", text(&container.user).to_owned()),
        ],
    ));
    lines
}

fn show_cluster(cluster: &Cluster) -> Vec<String> {
    let count = |count: Option<i32>| count.map(|count| count.to_string()).unwrap_or_default();
    fields(
        0,
        &[
            ("cluster", text(&cluster.cluster_name).to_owned()),
            ("status", text(&cluster.status).to_owned()),
            (
                "instances",
                count(cluster.registered_container_instances_count),
            ),
            ("running tasks", count(cluster.running_tasks_count)),
            ("pending tasks", count(cluster.pending_tasks_count)),
            ("services", count(cluster.active_services_count)),
            ("arn", text(&cluster.cluster_arn).to_owned()),
        ],
    )
}

fn show_instance(instance: &ContainerInstance, node: Option<&Node>) -> Vec<String> {
    let amount = |list: &Option<Vec<_>>, name: &str| amount(list.as_deref(), name);
    let of = |name: &str| {
        let left = amount(&instance.remaining_resources, name);
        format!("{left} of {}", amount(&instance.registered_resources, name))
    };
    let count = |count: Option<i32>| count.map(|count| count.to_string()).unwrap_or_default();
    let connected = instance
        .agent_connected
        .map(|it| if it { "yes" } else { "no" });
    fields(
        0,
        &[
            (
                "instance",
                last_part(text(&instance.container_instance_arn)).to_owned(),
            ),
            ("status", text(&instance.status).to_owned()),
            ("connected", connected.unwrap_or_default().to_owned()),
            ("cpu left", of("CPU")),
            ("memory left", format!("{} MiB", of("MEMORY"))),
            ("running tasks", count(instance.running_tasks_count)),
            ("pending tasks", count(instance.pending_tasks_count)),
            (
                "node",
                node.map(|node| format!("{} ({})", node.name, node.address))
                    .unwrap_or_default(),
            ),
            (
                "isolation",
                node.map(|node| node.isolation.clone()).unwrap_or_default(),
            ),
            ("registered", time(instance.registered_at)),
            ("arn", text(&instance.container_instance_arn).to_owned()),
        ],
    )
}

fn amount(
    resources: Option<&[windlass_wire::shapes::container_instance::Resource]>,
    name: &str,
) -> String {
    let found = resources
        .into_iter()
        .flatten()
        .find(|it| it.name.as_deref() == Some(name));
    found
        .and_then(|it| it.integer_value)
        .map_or("?".to_owned(), |amount| amount.to_string())
}

fn show_node(node: &Node) -> Vec<String> {
    let instances = node.container_instances.iter();
    let instances =
        instances.map(|it| format!("{} ({})", it.cluster, last_part(&it.container_instance_arn)));
    fields(
        0,
        &[
            ("node", node.id.clone()),
            ("name", node.name.clone()),
            (
                "connected",
                (if node.connected { "yes" } else { "no" }).to_owned(),
            ),
            ("address", node.address.clone()),
            ("zone", node.availability_zone.clone()),
            ("agent", node.agent_version.clone()),
            ("isolation", node.isolation.clone()),
            (
                "cpu left",
                format!("{} of {}", node.remaining.cpu, node.total.cpu),
            ),
            (
                "memory left",
                format!("{} of {} MiB", node.remaining.memory, node.total.memory),
            ),
            ("tasks", node.tasks.to_string()),
            ("instance of", instances.collect::<Vec<_>>().join(", ")),
        ],
    )
}

fn time(time: Option<Timestamp>) -> String {
    task::millis(time).map(words::rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests;
