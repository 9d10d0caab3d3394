//! Which thing a name means: an ARN and `kind/name` say it, of a bare name the first kind that has
//! it counts, in the order task (by its id, then by its family while it runs), definition, cluster,
//! instance, node.

use crate::client::Client;
use crate::commands::nodes::{self, Node};
use crate::failure::Failure;
use crate::task;
use crate::task_list;
use crate::words::last_part;
use windlass_wire::ops;
use windlass_wire::shapes::cluster::Cluster;
use windlass_wire::shapes::container_instance::ContainerInstance;
use windlass_wire::shapes::task::Task;
use windlass_wire::shapes::task_definition::TaskDefinition;

pub(crate) enum Thing {
    Task(Box<Task>),
    Definition(Box<TaskDefinition>),
    Cluster(Box<Cluster>),
    /// With the node that it is a membership of.
    Instance(Box<ContainerInstance>, Option<Node>),
    Node(Node),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Task,
    /// A task that runs, by its family or group.
    Named,
    Definition,
    Cluster,
    Instance,
    Node,
}

/// The kinds that `name` may be of, and the name for each.
fn kinds(name: &str) -> (Vec<Kind>, &str) {
    let resource = match name.strip_prefix("arn:") {
        Some(rest) => rest.splitn(5, ':').last().unwrap_or(rest),
        None => name,
    };
    let kind = resource.split_once('/').and_then(|(kind, rest)| {
        let kind = match kind {
            "task" => Kind::Task,
            "definition" | "task-definition" => Kind::Definition,
            "cluster" => Kind::Cluster,
            "instance" | "container-instance" => Kind::Instance,
            "node" => Kind::Node,
            _ => return None,
        };
        Some((kind, rest))
    });
    if let Some((kind, rest)) = kind {
        // An ARN says more than what is cut from it.
        let whole = name.starts_with("arn:") && kind != Kind::Instance;
        return (vec![kind], if whole { name } else { rest });
    }
    if name.contains(':') {
        return (vec![Kind::Definition], name);
    }
    let is_digits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit());
    let names = [Kind::Named, Kind::Definition, Kind::Cluster];
    let ids = [Kind::Task, Kind::Instance];
    let mut kinds = Vec::new();
    kinds.extend(ids.first().filter(|_| is_digits));
    kinds.extend(names);
    kinds.extend(ids.last().filter(|_| is_digits));
    kinds.push(Kind::Node);
    (kinds, name)
}

/// The thing that is meant.
pub(crate) async fn find(client: &Client, name: &str) -> Result<Thing, Failure> {
    let (kinds, rest) = kinds(name);
    let only = kinds.len() == 1;
    for kind in kinds {
        let found = match kind {
            // `task/web` means a task, whatever else is called so.
            Kind::Task if only => {
                let found = task::find(client, rest).await;
                found.map(|it| Some(Thing::Task(Box::new(it))))
            }
            Kind::Task => {
                let found = task::by_id(client, rest).await;
                found.map(|it| Some(Thing::Task(Box::new(it))))
            }
            Kind::Named => running(client, rest).await,
            Kind::Definition => {
                let found = task::definition(client, rest).await;
                found.map(|it| Some(Thing::Definition(Box::new(it))))
            }
            Kind::Cluster => cluster(client, rest).await,
            Kind::Instance => instance(client, rest).await,
            Kind::Node => node(client, rest).await,
        };
        match found {
            Ok(Some(thing)) => return Ok(thing),
            Ok(None) => {}
            Err(failure) if !only && failure.exit_code() == 3 => {}
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::NotFound(format!(
        "nothing is called {name}: `windlass ps -a` lists tasks, `windlass nodes` lists nodes"
    )))
}

/// The task of that family or group that runs. Of those that have stopped nothing is said here:
/// then the name is rather the definition's.
async fn running(client: &Client, name: &str) -> Result<Option<Thing>, Failure> {
    let mut found = task_list::named(client, name).await?;
    found.retain(|task| !task::is_stopped(task));
    match task_list::only(name, found) {
        Ok(found) => Ok(found.map(|it| Thing::Task(Box::new(it)))),
        Err(several) => Err(Failure::Usage(format!(
            "{several}\nor the definition as definition/{name}"
        ))),
    }
}

async fn cluster(client: &Client, name: &str) -> Result<Option<Thing>, Failure> {
    let request = ops::DescribeClustersRequest {
        clusters: Some(vec![name.to_owned()]),
        include: None,
    };
    let answer = client.call(&request).await?;
    let found = answer.clusters.unwrap_or_default().into_iter().next();
    Ok(found.map(|it| Thing::Cluster(Box::new(it))))
}

/// Nodes know their memberships, so no cluster needs to be named.
async fn instance(client: &Client, given: &str) -> Result<Option<Thing>, Failure> {
    let prefix = last_part(given);
    let nodes = nodes::nodes(client).await?;
    let mut found = Vec::new();
    for node in nodes {
        let memberships = node.container_instances.iter();
        let fits = |arn: &str| last_part(arn).starts_with(prefix);
        let arns = memberships.filter(|it| fits(&it.container_instance_arn));
        let arns: Vec<_> = arns
            .map(|it| (it.cluster.clone(), it.container_instance_arn.clone()))
            .collect();
        found.extend(arns.into_iter().map(|arn| (arn, node.id.clone())));
    }
    let ((cluster, arn), node) = match found.len() {
        0 => return Ok(None),
        1 => found.swap_remove(0),
        several => return Err(ambiguous(several, "instances", prefix)),
    };
    let request = ops::DescribeContainerInstancesRequest {
        cluster: Some(cluster),
        container_instances: Some(vec![arn]),
        ..Default::default()
    };
    let answer = client.call(&request).await?;
    let found = answer
        .container_instances
        .unwrap_or_default()
        .into_iter()
        .next();
    let node = nodes::nodes(client)
        .await?
        .into_iter()
        .find(|it| it.id == node);
    Ok(found.map(|it| Thing::Instance(Box::new(it), node)))
}

async fn node(client: &Client, name: &str) -> Result<Option<Thing>, Failure> {
    let nodes = nodes::nodes(client).await?;
    let mut found: Vec<Node> = nodes
        .into_iter()
        .filter(|node| node.id.starts_with(name) || node.name == name)
        .collect();
    match found.len() {
        0 => Ok(None),
        1 => Ok(Some(Thing::Node(found.swap_remove(0)))),
        several => Err(ambiguous(several, "nodes", name)),
    }
}

fn ambiguous(several: usize, what: &str, prefix: &str) -> Failure {
    Failure::Usage(format!(
        "{several} {what}' ids begin with {prefix}: give more digits"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_kind_where_they_can() {
        use Kind::{Cluster, Definition, Instance, Named, Node, Task};
        let task = "arn:aws:ecs:us-east-1:000000000000:task/default/3f2a";
        let definition = "arn:aws:ecs:us-east-1:000000000000:task-definition/web:3";
        let instance = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/c0ffee";
        for (name, expected, rest) in [
            (task, vec![Task], task),
            (definition, vec![Definition], definition),
            (instance, vec![Instance], "default/c0ffee"),
            ("web:3", vec![Definition], "web:3"),
            ("task/3f2a", vec![Task], "3f2a"),
            ("cluster/default", vec![Cluster], "default"),
            ("definition/web:3", vec![Definition], "web:3"),
            ("node/mill", vec![Node], "mill"),
            ("web", vec![Named, Definition, Cluster, Node], "web"),
            (
                "3f2a",
                vec![Task, Named, Definition, Cluster, Instance, Node],
                "3f2a",
            ),
        ] {
            assert_eq!(kinds(name), (expected, rest), "{name}");
        }
    }
}
