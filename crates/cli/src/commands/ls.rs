//! `ls`: the clusters, and the task definitions.

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::limits;
use crate::output::{Format, Shown, readable_times};
use crate::table::Table;
use crate::task::{self, text};
use crate::task_list::{clusters, endless};
use crate::words::{age, last_part};
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use windlass_wire::ops;
use windlass_wire::shapes::cluster::Cluster;
use windlass_wire::shapes::container_definition::ContainerDefinition;
use windlass_wire::shapes::task_definition::{TaskDefinition, TaskDefinitionStatus};

const EXAMPLES: &str = "\
Examples:
  windlass ls clusters
  windlass ls definitions                  the newest revision of every family
  windlass ls definitions web              every revision of one family
  windlass ls definitions --status inactive --output json

Tasks are listed by `windlass ps`, machines by `windlass nodes`, images by `windlass images`.";

/// List clusters or task definitions.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct LsArgs {
    #[command(subcommand)]
    kind: Kind,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Clusters, with what runs in them.
    #[command(visible_alias = "cluster")]
    Clusters,
    /// Task definitions.
    #[command(visible_alias = "definition", alias = "task-definitions")]
    Definitions {
        /// Every revision of this family, not only the newest of each.
        #[arg(value_name = "FAMILY")]
        family: Option<String>,
        /// Those that may be run, or those that were deregistered.
        #[arg(long, value_enum, ignore_case = true, default_value = "active")]
        status: Status,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    Active,
    Inactive,
}

pub(crate) async fn run(args: LsArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let (value, table, nothing) = match &args.kind {
        Kind::Clusters => {
            let found = described(&client).await?;
            let table = of_clusters(&found);
            (json!({ "clusters": found }), table, "no cluster is known")
        }
        Kind::Definitions { family, status } => {
            let found = definitions(&client, family.as_deref(), *status).await?;
            let table = of_definitions(&found, jiff::Timestamp::now().as_millisecond());
            let nothing = "no task definition; `windlass register FILE` registers one";
            (json!({ "taskDefinitions": found }), table, nothing)
        }
    };
    match args.shown.output {
        Format::Json => {
            let mut value = value;
            readable_times(&mut value);
            context.out.json(&value)
        }
        Format::Table => {
            if table.is_empty() {
                context.out.hint(nothing);
            }
            let lines = context.out.table(&table);
            context.out.lines(&lines)
        }
    }
}

async fn described(client: &Client) -> Result<Vec<Cluster>, Failure> {
    let mut found = Vec::new();
    for some in clusters(client).await?.chunks(limits::PAGE_MAX) {
        let request = ops::DescribeClustersRequest {
            clusters: Some(some.to_vec()),
            include: None,
        };
        found.extend(client.call(&request).await?.clusters.unwrap_or_default());
    }
    found.sort_by(|a, b| a.cluster_name.cmp(&b.cluster_name));
    Ok(found)
}

fn of_clusters(clusters: &[Cluster]) -> Table {
    let mut table = Table::new(&["CLUSTER", "STATUS", "INSTANCES", "RUNNING", "PENDING"]);
    let count = |count: Option<i32>| count.unwrap_or_default().to_string();
    for cluster in clusters {
        table.push([
            text(&cluster.cluster_name).to_owned(),
            text(&cluster.status).to_owned(),
            count(cluster.registered_container_instances_count),
            count(cluster.running_tasks_count),
            count(cluster.pending_tasks_count),
        ]);
    }
    table
}

/// Of one family every revision, else of every family the newest that has the status.
async fn definitions(
    client: &Client,
    family: Option<&str>,
    status: Status,
) -> Result<Vec<TaskDefinition>, Failure> {
    let mut found = Vec::new();
    for arn in arns(client, family, status).await? {
        match task::definition(client, &arn).await {
            Ok(definition) => found.push(definition),
            // Deleted since it was listed.
            Err(failure) if failure.exit_code() == 3 => {}
            Err(failure) => return Err(failure),
        }
    }
    if let Some(family) = family.filter(|_| found.is_empty()) {
        return Err(Failure::NotFound(format!(
            "no such task definition of the family {family}: `windlass ls definitions` lists all"
        )));
    }
    Ok(found)
}

async fn arns(
    client: &Client,
    family: Option<&str>,
    status: Status,
) -> Result<Vec<String>, Failure> {
    let mut request = ops::ListTaskDefinitionsRequest {
        family_prefix: family.map(str::to_owned),
        status: Some(match status {
            Status::Active => TaskDefinitionStatus::Active,
            Status::Inactive => TaskDefinitionStatus::Inactive,
        }),
        ..Default::default()
    };
    let mut arns: Vec<String> = Vec::new();
    for _ in 0..limits::PAGES_MAX {
        let page = client.call(&request).await?;
        for arn in page.task_definition_arns.unwrap_or_default() {
            // Revisions of a family come one after the other.
            let is_next = arns
                .last()
                .is_some_and(|last| family_of(last) == family_of(&arn));
            if family.is_none() && is_next {
                arns.pop();
            }
            arns.push(arn);
        }
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            return Ok(arns);
        }
    }
    Err(endless("ListTaskDefinitions"))
}

fn family_of(arn: &str) -> &str {
    let name = last_part(arn);
    name.rsplit_once(':').map_or(name, |(family, _)| family)
}

fn of_definitions(definitions: &[TaskDefinition], now_ms: i64) -> Table {
    let mut table = Table::new(&[
        "DEFINITION",
        "STATUS",
        "NETWORK",
        "CPU",
        "MEMORY",
        "CONTAINERS",
        "IMAGES",
        "AGE",
    ]);
    for definition in definitions {
        let containers = definition
            .container_definitions
            .as_deref()
            .unwrap_or_default();
        let joined = |of: fn(&ContainerDefinition) -> &Option<String>| {
            let all: Vec<&str> = containers.iter().map(|it| text(of(it))).collect();
            all.join(",")
        };
        let registered = task::millis(definition.registered_at);
        let (cpu, memory) = sizes(definition);
        table.push([
            last_part(text(&definition.task_definition_arn)).to_owned(),
            definition
                .status
                .as_ref()
                .map(|it| it.as_str().to_owned())
                .unwrap_or_default(),
            definition
                .network_mode
                .as_ref()
                .map(|it| it.as_str().to_owned())
                .unwrap_or_default(),
            cpu,
            memory,
            joined(|it| &it.name),
            joined(|it| &it.image),
            registered
                .map(|at| age(now_ms.saturating_sub(at)))
                .unwrap_or_default(),
        ]);
    }
    table
}

/// CPU units and memory in MiB: the task's, or the sums of its containers'.
fn sizes(definition: &TaskDefinition) -> (String, String) {
    let containers = || definition.container_definitions.iter().flatten();
    let sum = |of: fn(&ContainerDefinition) -> Option<i32>| match containers()
        .filter_map(of)
        .map(i64::from)
        .sum::<i64>()
    {
        0 => String::new(),
        sum => sum.to_string(),
    };
    let given = |of_task: &Option<String>, sum: String| match text(of_task) {
        "" => sum,
        given => given.to_owned(),
    };
    (
        given(&definition.cpu, sum(|it| it.cpu)),
        given(
            &definition.memory,
            sum(|it| it.memory.or(it.memory_reservation)),
        ),
    )
}
