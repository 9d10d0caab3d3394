//! `nodes`: the machines, and in which clusters they are container instances.

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Format, Shown};
use crate::table::Table;
use crate::words::last_part;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  windlass nodes                          what there is, and what is left of it
  windlass nodes add --cluster batch      make this machine an instance of that cluster too
  windlass nodes add --cluster batch --node 3f2a
  windlass nodes rm --cluster batch       no task is placed there by that cluster any more";

/// List nodes, and say in which clusters they take tasks.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct NodesArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the nodes.
    Ls,
    /// Register a node in a cluster; one that was drained takes tasks again.
    Add(Of),
    /// Deregister a node from a cluster. It does not come back by itself.
    Rm {
        #[command(flatten)]
        of: Of,
        /// Also while tasks of that cluster run there: they run on.
        #[arg(long)]
        force: bool,
    },
}

/// Which membership.
#[derive(Debug, clap::Args)]
struct Of {
    /// Name or ARN.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// Id or its beginning; may be left out where there is one node.
    #[arg(long, value_name = "ID")]
    node: Option<String>,
}

impl Of {
    fn request(&self) -> Value {
        match &self.node {
            None => json!({ "cluster": self.cluster }),
            Some(node) => json!({ "cluster": self.cluster, "node": node }),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) connected: bool,
    pub(crate) agent_version: String,
    pub(crate) availability_zone: String,
    /// What keeps tasks apart there, really.
    pub(crate) isolation: String,
    pub(crate) total: Amounts,
    pub(crate) remaining: Amounts,
    pub(crate) tasks: u64,
    pub(crate) container_instances: Vec<Membership>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Amounts {
    /// CPU units, 1024 to a processor.
    pub(crate) cpu: u64,
    /// MiB.
    pub(crate) memory: u64,
    #[serde(default)]
    pub(crate) ports: Vec<u16>,
    /// Network interfaces.
    #[serde(default)]
    pub(crate) links: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Membership {
    pub(crate) cluster: String,
    pub(crate) container_instance_arn: String,
    /// ACTIVE or DRAINING.
    #[serde(default)]
    pub(crate) status: String,
    /// It joined by itself.
    #[serde(default)]
    pub(crate) on_demand: bool,
}

pub(crate) async fn run(args: NodesArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let changed = match args.action {
        None | Some(Action::Ls) => None,
        Some(Action::Add(of)) => Some(client.windlass("AddNode", &of.request()).await?),
        Some(Action::Rm { of, force }) => {
            let mut request = of.request();
            request["force"] = force.into();
            Some(client.windlass("RemoveNode", &request).await?)
        }
    };
    if let Some(answer) = changed.filter(|_| args.shown.output == Format::Json) {
        return context.out.json(&answer);
    }
    let nodes = nodes(&client).await?;
    match args.shown.output {
        Format::Json => context.out.json(&json!({ "nodes": nodes })),
        Format::Table => {
            let lines = context.out.table(&list(&nodes));
            context.out.lines(&lines)
        }
    }
}

pub(crate) async fn nodes(client: &Client) -> Result<Vec<Node>, Failure> {
    #[derive(Deserialize)]
    struct Listed {
        nodes: Vec<Node>,
    }
    let answer = client.windlass("ListNodes", &json!({})).await?;
    let listed: Result<Listed, _> = serde_json::from_value(answer);
    let listed = listed.map_err(|err| Failure::Failed(format!("ListNodes: {err}")))?;
    Ok(listed.nodes)
}

fn list(nodes: &[Node]) -> Table {
    let mut table = Table::new(&[
        "NODE",
        "NAME",
        "CONNECTED",
        "ADDRESS",
        "CPU LEFT",
        "MEMORY LEFT",
        "LINKS LEFT",
        "TASKS",
        "INSTANCE OF",
    ]);
    for node in nodes {
        let of = node.container_instances.iter().map(|it| {
            let id = last_part(&it.container_instance_arn);
            let draining = match it.status.as_str() {
                "DRAINING" => ", draining",
                _ => "",
            };
            format!("{} ({}{draining})", it.cluster, id.get(..8).unwrap_or(id))
        });
        table.push([
            node.id.get(..8).unwrap_or(&node.id).to_owned(),
            node.name.clone(),
            (if node.connected { "yes" } else { "no" }).to_owned(),
            node.address.clone(),
            format!("{}/{}", node.remaining.cpu, node.total.cpu),
            format!("{}/{} MiB", node.remaining.memory, node.total.memory),
            format!("{}/{}", node.remaining.links, node.total.links),
            node.tasks.to_string(),
            of.collect::<Vec<_>>().join(", "),
        ]);
    }
    table
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn node() -> Node {
        let node = json!({
            "id": "3f2a00000000000000000000000000aa", "name": "mill", "address": "10.0.0.5",
            "connected": true, "agentVersion": "0.1.0", "availabilityZone": "us-east-1a",
            "isolation": "namespaces, cgroups",
            "total": { "cpu": 2048, "memory": 3900, "ports": [], "links": 253 },
            "remaining": { "cpu": 1024, "memory": 3000, "ports": [80], "links": 251 },
            "tasks": 1,
            "containerInstances": [{ "cluster": "default",
                "containerInstanceArn": "arn:aws:ecs:us-east-1:000000000000:container-instance/default/c0ffee00c0ffee00c0ffee00c0ffee00" }],
        });
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn nodes_are_listed_with_what_is_left() {
        assert_eq!(
            list(&[node()]).render(false),
            [
                "NODE      NAME  CONNECTED  ADDRESS   CPU LEFT   MEMORY LEFT    LINKS LEFT  TASKS  INSTANCE OF",
                "3f2a0000  mill  yes        10.0.0.5  1024/2048  3000/3900 MiB  251/253     1      default (c0ffee00)",
            ]
        );
    }
}
