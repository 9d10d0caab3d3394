//! `run`: starts tasks; in the foreground with their logs, until they end.

mod env_file;
mod follow;
mod override_file;
mod port;

use super::{Context, register, stop};
use crate::args::Pull;
use crate::client::Client;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::limits;
use crate::output::{Format, Shown, readable_times};
use crate::task::{self, text};
use crate::words::last_part;
use clap::ValueEnum;
use serde_json::json;
use std::path::{Path, PathBuf};
use windlass_wire::ops;
use windlass_wire::shapes::container_definition::KeyValuePair;
use windlass_wire::shapes::failure::Failure as Unplaced;
use windlass_wire::shapes::network::{AwsVpcConfiguration, NetworkConfiguration};
use windlass_wire::shapes::task::{LaunchType, Task};
use windlass_wire::shapes::task_definition::{Compatibility, NetworkMode, TaskDefinition};
use windlass_wire::shapes::task_override::{ContainerOverride, TaskOverride};

const EXAMPLES: &str = "\
Examples:
  windlass run web.json                       register a file and run it, with its logs
  windlass run web:3 --detach --count 2       run what is registered, and return
  windlass run job --env STAGE=test -- ./job --once
  windlass run job --override '{\"containerOverrides\":[{\"name\":\"app\",\"memory\":512}]}'
  windlass run web.json --launch-type FARGATE

In the foreground Ctrl-C stops the tasks, a second one kills them, and a third one leaves them. The exit code is the
container's; 125 when the failure is not the container's.";

/// Run a task definition.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// A file as `windlass register` takes it, - for stdin; or FAMILY, FAMILY:REVISION, an ARN.
    #[arg(value_name = "FILE|FAMILY[:REV]")]
    pub(crate) source: String,
    /// How many tasks.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) count: u32,
    /// Print the tasks' ids and return.
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Name or ARN [default: default].
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// FARGATE is taken without asking where the definition is for FARGATE alone.
    #[arg(long, value_enum, ignore_case = true, value_name = "TYPE")]
    launch_type: Option<Launch>,
    /// A variable of the container; may be given several times.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) vars: Vec<(String, String)>,
    /// Variables of the container from a file, each line NAME=VALUE, or a NAME that is passed on from
    /// here; # begins a comment. --env comes on top.
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
    /// In place of the container's command; the rest of the line.
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "WORD", conflicts_with = "last")]
    command: Vec<String>,
    /// CPU units in place of the task's, 1024 to a processor.
    #[arg(long, value_name = "UNITS")]
    cpu: Option<u32>,
    /// Memory in place of the task's, in MiB.
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// What RunTask takes as its overrides, as JSON or in a file://PATH; --env, --cpu, --memory and
    /// the command come on top.
    #[arg(long, visible_alias = "override", value_name = "JSON")]
    overrides: Option<String>,
    /// Group of the tasks [default: family:FAMILY].
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// When a registry is asked for an image that is here [default: as `up --pull` said].
    #[arg(long, value_enum, value_name = "WHEN")]
    pull: Option<Pull>,
    /// A mark by which `list-tasks` finds the tasks.
    #[arg(long, value_name = "TEXT")]
    started_by: Option<String>,
    /// The container that --env and the command are for [default: the first essential one].
    #[arg(long, value_name = "CONTAINER")]
    name: Option<String>,
    /// Leave out members of a file that ECS does not know, with a warning.
    #[arg(long)]
    lenient: bool,
    #[arg(long, short, hide = true)]
    interactive: bool,
    #[arg(long, short, hide = true)]
    tty: bool,
    #[command(flatten)]
    shown: Shown,
    /// In place of the container's command.
    #[arg(last = true, value_name = "COMMAND")]
    last: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Launch {
    #[value(name = "EC2")]
    Ec2,
    #[value(name = "FARGATE")]
    Fargate,
    #[value(name = "EXTERNAL")]
    External,
}

impl RunArgs {
    /// The command, however it was given.
    pub(crate) fn words(&self) -> &[String] {
        if self.last.is_empty() {
            &self.command
        } else {
            &self.last
        }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a variable looks like NAME=VALUE".to_owned()),
    }
}

/// What docker users ask for and is not there: better said than taken for a command that hangs.
const NO_TERMINAL: &str = "-i and -t: a container's input and terminal cannot be reached from here yet. \
    A program that only wants a terminal to write to gets one by \"pseudoTerminal\": true in its \
    container definition; what it is to read, give it by --env, a command after --, or a volume";

pub(crate) async fn run(mut args: RunArgs, context: &mut Context<'_>) -> Result<u8, Failure> {
    if args.interactive || args.tty {
        return Err(Failure::Usage(NO_TERMINAL.to_owned()));
    }
    let mut vars = Vec::new();
    for file in &args.env_files {
        vars.extend(env_file::read(file, context.environment)?);
    }
    vars.append(&mut args.vars);
    args.vars = vars;
    if args.detach {
        return detached(&args, context).await.map(|()| 0);
    }
    if args.shown.output == Format::Json {
        let why = "--output json is for --detach: in the foreground the output is the container's";
        return Err(Failure::Usage(why.to_owned()));
    }
    if args.count > limits::FOLLOWED_MAX {
        return Err(Failure::Usage(format!(
            "--count {}: the logs of at most {} tasks are shown at once; with --detach there may be \
             more",
            args.count,
            limits::FOLLOWED_MAX
        )));
    }
    foreground(&args, context).await
}

async fn detached(args: &RunArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let definition = definition(args, &client, context).await?;
    let started = start(args, &definition, &client).await?;
    match args.shown.output {
        Format::Table => {
            for task in &started.tasks {
                context.out.line(task::id(task))?;
            }
        }
        Format::Json => {
            let mut value = json!({ "tasks": started.tasks, "failures": started.failures });
            readable_times(&mut value);
            context.out.json(&value)?;
        }
    }
    if let Some(task) = started.tasks.first() {
        let id = task::short(task);
        context.out.hint(&format!(
            "next: `windlass logs -f {id}`, `windlass describe {id}`, `windlass stop {id}`"
        ));
    }
    match started.failure(true) {
        Some(failure) => Err(with_holder(failure, &started, &definition, &client).await),
        None => Ok(()),
    }
}

/// With who has the port, where that is why tasks found no place.
async fn with_holder(
    failure: Failure,
    started: &Started,
    definition: &TaskDefinition,
    client: &Client,
) -> Failure {
    let is_of_port = |it: &Unplaced| it.reason.as_deref() == Some("RESOURCE:PORTS");
    match failure {
        Failure::NotPlaced(why) if started.failures.iter().any(is_of_port) => {
            match port::who_has(client, definition).await {
                Ok(Some(holder)) => Failure::NotPlaced(format!("{why}\n{holder}")),
                // Nobody any more, or nobody to ask: then what is known must do.
                _ => Failure::NotPlaced(why),
            }
        }
        failure => failure,
    }
}

async fn foreground(args: &RunArgs, context: &mut Context<'_>) -> Result<u8, Failure> {
    let link = context.link()?;
    let definition = definition(args, &link.client, context).await?;
    // From here on Ctrl-C is for the tasks, also for one that is only being started.
    let mut interrupts = Interrupts::new()?;
    let started = start(args, &definition, &link.client).await?;
    if let Some(failure) = started.failure(false) {
        let failure = with_holder(failure, &started, &definition, &link.client).await;
        for task in &started.tasks {
            let reason = Some("not all tasks of the same run could be placed");
            if let Err(err) = stop::stop(&link.client, task, reason).await {
                context
                    .out
                    .note(&format!("windlass: {}: {err}", task::id(task)));
            }
        }
        return Err(failure);
    }
    let name = args.name.as_deref();
    follow::follow(
        link,
        &definition,
        started.tasks,
        name,
        &mut interrupts,
        context,
    )
    .await
    .map_err(|failure| match failure {
        Failure::Interrupted => Failure::Interrupted,
        failure => Failure::Run(Box::new(failure)),
    })
}

/// Registers a file, or looks a definition up.
async fn definition(
    args: &RunArgs,
    client: &Client,
    context: &mut Context<'_>,
) -> Result<TaskDefinition, Failure> {
    let path = Path::new(&args.source);
    if !is_file(&args.source) {
        return task::definition(client, &args.source).await;
    }
    let definition = register::register(path, args.lenient, client, &mut context.out).await?;
    context.out.note(&format!(
        "registered {}",
        last_part(text(&definition.task_definition_arn))
    ));
    Ok(definition)
}

/// A family has no dot and no slash; a file that is called like a family is named with `./`.
fn is_file(source: &str) -> bool {
    !source.starts_with("arn:") && (source == "-" || source.contains(['.', '/']))
}

/// What RunTask did, over all its calls.
struct Started {
    wanted: u32,
    tasks: Vec<Task>,
    failures: Vec<Unplaced>,
    /// Why a later call was refused.
    refused: Option<Failure>,
}

impl Started {
    /// That fewer tasks run than were wanted; `goes_on` is whether those that were started do.
    fn failure(&self, goes_on: bool) -> Option<Failure> {
        let started = self.tasks.len();
        let missing = usize::try_from(self.wanted).ok()?.saturating_sub(started);
        let rest = match (started, goes_on) {
            (0, _) => String::new(),
            (n, true) => format!("; the other {n} run"),
            (n, false) => format!("; the other {n} are stopped"),
        };
        let all = self.wanted;
        if let Some(refused) = &self.refused {
            let text = format!("{missing} of {all} tasks were not started: {refused}{rest}");
            return Some(match refused.is_gone() {
                true => Failure::Unreachable(text),
                false => Failure::Failed(text),
            });
        }
        let first = self.failures.first()?;
        // One for each machine that was looked at, and alike on many.
        let mut reasons: Vec<String> = self.failures.iter().map(why_not).collect();
        reasons.sort();
        reasons.dedup();
        let mend = match first.reason.as_deref().unwrap_or_default() {
            "RESOURCE:MEMORY" | "RESOURCE:CPU" => "`windlass nodes` shows what is left",
            "RESOURCE:PORTS" => "another task or program has the host port",
            "AGENT" => "the node is not connected: `windlass nodes` shows it",
            _ => "`windlass nodes` shows what there is",
        };
        Some(Failure::NotPlaced(format!(
            "{missing} of {all} tasks could not be placed: {}{rest}; {mend}",
            reasons.join(", ")
        )))
    }
}

fn why_not(failure: &Unplaced) -> String {
    match (&failure.reason, &failure.detail) {
        (Some(reason), Some(detail)) => format!("{reason} ({detail})"),
        (Some(reason), None) => reason.clone(),
        (None, _) => "no reason given".to_owned(),
    }
}

/// Starts the tasks, as many at once as ECS allows, until some find no place.
///
/// # Errors
/// The first call is refused.
async fn start(
    args: &RunArgs,
    definition: &TaskDefinition,
    client: &Client,
) -> Result<Started, Failure> {
    let mut request = request(args, definition)?;
    let mut started = Started {
        wanted: args.count,
        tasks: Vec::new(),
        failures: Vec::new(),
        refused: None,
    };
    let mut left = args.count;
    while left > 0 && started.failures.is_empty() {
        let count = left.min(limits::RUN_COUNT_MAX);
        request.count = i32::try_from(count).ok();
        match run_tasks(client, &request, args.pull).await {
            Ok(answer) => {
                started.tasks.extend(answer.tasks.unwrap_or_default());
                started.failures.extend(answer.failures.unwrap_or_default());
            }
            Err(failure) if started.tasks.is_empty() => return Err(explained(failure, args)),
            Err(failure) => {
                started.refused = Some(failure);
                break;
            }
        }
        left = left.saturating_sub(count);
    }
    let answered = started.tasks.len().saturating_add(started.failures.len());
    if answered == 0 {
        return Err(Failure::Failed(
            "RunTask: the answer has neither tasks nor failures".to_owned(),
        ));
    }
    Ok(started)
}

/// ECS has no member for when to pull: what says it goes another way.
async fn run_tasks(
    client: &Client,
    request: &ops::RunTaskRequest,
    pull: Option<Pull>,
) -> Result<ops::RunTaskResponse, Failure> {
    let Some(pull) = pull else {
        return client.call(request).await;
    };
    let wanted = json!({ "pull": pull.name(), "request": request });
    let answer = client.windlass("RunTask", &wanted).await?;
    serde_json::from_value(answer).map_err(|err| Failure::Failed(format!("RunTask: {err}")))
}

/// ECS's sentence, and what to do here.
fn explained(failure: Failure, args: &RunArgs) -> Failure {
    let Failure::Api(mut err) = failure else {
        return failure;
    };
    if err.message.starts_with("No Container Instances were found") {
        let cluster = args.cluster.as_deref().unwrap_or("default");
        err.message.push_str(&format!(
            " `windlass nodes add --cluster {cluster}` makes this machine one of its instances; \
             --launch-type FARGATE needs none"
        ));
    }
    Failure::Api(err)
}

fn request(args: &RunArgs, definition: &TaskDefinition) -> Result<ops::RunTaskRequest, Failure> {
    let only_fargate =
        definition.requires_compatibilities.as_deref() == Some(&[Compatibility::Fargate]);
    let launch_type = match args.launch_type {
        Some(Launch::Ec2) => Some(LaunchType::Ec2),
        Some(Launch::External) => Some(LaunchType::External),
        Some(Launch::Fargate) => Some(LaunchType::Fargate),
        None => only_fargate.then_some(LaunchType::Fargate),
    };
    let awsvpc = definition.network_mode == Some(NetworkMode::Awsvpc);
    Ok(ops::RunTaskRequest {
        cluster: args.cluster.clone(),
        group: args.group.clone(),
        launch_type,
        // ECS wants a subnet named; there is one network here.
        network_configuration: awsvpc.then(|| NetworkConfiguration {
            awsvpc_configuration: Some(AwsVpcConfiguration {
                subnets: Some(vec!["subnet-default".to_owned()]),
                ..Default::default()
            }),
        }),
        overrides: overrides(args, definition)?,
        started_by: args.started_by.clone(),
        task_definition: definition.task_definition_arn.clone(),
        ..Default::default()
    })
}

/// What --overrides says, with the single arguments on top.
fn overrides(args: &RunArgs, definition: &TaskDefinition) -> Result<Option<TaskOverride>, Failure> {
    let mut given = match &args.overrides {
        Some(text) => override_file::read(text)?,
        None => TaskOverride::default(),
    };
    let container = container(args, definition)?;
    let changed = !args.vars.is_empty() || !args.words().is_empty();
    if let Some(name) = container.filter(|_| changed) {
        let all = given.container_overrides.get_or_insert_default();
        let at = all.iter().position(|it| it.name.as_deref() == Some(name));
        let at = at.unwrap_or_else(|| {
            all.push(ContainerOverride {
                name: Some(name.to_owned()),
                ..Default::default()
            });
            all.len().saturating_sub(1)
        });
        if let Some(of_container) = all.get_mut(at) {
            change(of_container, args);
        }
    }
    if let Some(units) = args.cpu {
        given.cpu = Some(units.to_string());
    }
    if let Some(mib) = args.memory {
        given.memory = Some(mib.to_string());
    }
    Ok((given != TaskOverride::default()).then_some(given))
}

fn change(of_container: &mut ContainerOverride, args: &RunArgs) {
    if !args.words().is_empty() {
        of_container.command = Some(args.words().to_vec());
    }
    for (name, value) in &args.vars {
        let all = of_container.environment.get_or_insert_default();
        all.retain(|it| it.name.as_ref() != Some(name));
        all.push(KeyValuePair {
            name: Some(name.clone()),
            value: Some(value.clone()),
        });
    }
}

/// The container that the arguments are about.
fn container<'a>(
    args: &RunArgs,
    definition: &'a TaskDefinition,
) -> Result<Option<&'a str>, Failure> {
    let containers = definition
        .container_definitions
        .as_deref()
        .unwrap_or_default();
    let names = || containers.iter().map(|container| text(&container.name));
    match &args.name {
        Some(wanted) => names()
            .find(|name| name == wanted)
            .map(Some)
            .ok_or_else(|| {
                let names: Vec<&str> = names().collect();
                Failure::Usage(format!(
                    "--name {wanted}: the task definition has no such container; it has {}",
                    names.join(", ")
                ))
            }),
        None => {
            let essential = containers
                .iter()
                .find(|container| container.essential != Some(false));
            Ok(essential.map(|container| text(&container.name)))
        }
    }
}

#[cfg(test)]
mod tests;
