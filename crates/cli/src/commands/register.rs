//! `register`: a task definition from a file.

use super::Context;
use crate::client::Client;
use crate::definition_file;
use crate::failure::Failure;
use crate::output::{Format, Output, Shown, readable_times};
use crate::task::text;
use crate::words::last_part;
use std::path::{Path, PathBuf};
use windlass_wire::shapes::task_definition::TaskDefinition;

const EXAMPLES: &str = "\
Examples:
  windlass register web.json
  windlass register web.yaml
  aws ecs describe-task-definition --task-definition web | windlass register -";

/// Register a task definition.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RegisterArgs {
    /// JSON or YAML as register-task-definition takes it or describe-task-definition prints it; -
    /// for stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave out members that ECS does not know, with a warning, and register the rest.
    #[arg(long)]
    lenient: bool,
    #[command(flatten)]
    shown: Shown,
}

pub(crate) async fn run(args: RegisterArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let definition = register(&args.file, args.lenient, &client, &mut context.out).await?;
    let name = last_part(text(&definition.task_definition_arn)).to_owned();
    match args.shown.output {
        Format::Table => {
            context.out.line(&name)?;
            context.out.hint(&format!("next: `windlass run {name}`"));
            Ok(())
        }
        Format::Json => {
            let mut value = serde_json::json!({ "taskDefinition": definition });
            readable_times(&mut value);
            context.out.json(&value)
        }
    }
}

/// Registers a file. What ECS would ignore without a word is refused, or `lenient` warned of.
pub(crate) async fn register(
    file: &Path,
    lenient: bool,
    client: &Client,
    out: &mut Output,
) -> Result<TaskDefinition, Failure> {
    let read = definition_file::read(file)?;
    if !lenient && !read.unknown.is_empty() {
        return Err(unknown(file, &read.unknown));
    }
    for path in &read.unknown {
        out.note(&format!(
            "windlass: {}: ECS knows no member {path}; it is ignored",
            file.display()
        ));
    }
    let answer = client.call(&read.request).await?;
    let definition = answer.task_definition;
    definition
        .ok_or_else(|| Failure::Failed("RegisterTaskDefinition: the answer is empty".to_owned()))
}

fn unknown(file: &Path, members: &[String]) -> Failure {
    let file = file.display();
    let mend = "nothing was registered; --lenient leaves such members out";
    Failure::Usage(match members {
        [only] => format!("{file}: ECS knows no member {only}\n{mend}"),
        several => format!(
            "{file}: ECS does not know {} members:\n  {}\n{mend}",
            several.len(),
            several.join("\n  ")
        ),
    })
}
