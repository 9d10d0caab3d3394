//! `why`: in plain words why a task is as it is, or found no place, then the evidence.

mod cause;
mod evidence;
mod placement;
mod sentence;

use super::Context;
use super::history::{self, Entry};
use super::thing::{self, Thing};
use crate::client::Client;
use crate::escape;
use crate::failure::Failure;
use crate::output::{Format, Shown};
use crate::task::{self, text};
use crate::words::last_part;
use serde::Serialize;
use serde_json::json;
use windlass_wire::shapes::task::Task;
use windlass_wire::shapes::task_definition::TaskDefinition;

const EXAMPLES: &str = "\
Examples:
  windlass why 3f2a             why it stopped, or does not run yet
  windlass why definition/web   why its last RunTask found no place
  windlass why 3f2a --output json";

/// Say why a task stopped or does not run, or why one was not placed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WhyArgs {
    /// A task, by its ARN, id, or a unique beginning of an id; or a definition, as
    /// definition/FAMILY or FAMILY:REVISION, of which a task was not placed.
    #[arg(value_name = "TASK")]
    subject: String,
    #[command(flatten)]
    shown: Shown,
}

/// The answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Explanation {
    /// One sentence.
    summary: String,
    /// What to do about it, where that is known.
    mend: Option<String>,
    evidence: Vec<Evidence>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Evidence {
    what: String,
    lines: Vec<String>,
}

pub(crate) async fn run(args: WhyArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let explanation = match find(&client, &args.subject).await? {
        Thing::Definition(definition) => {
            let name = last_part(text(&definition.task_definition_arn));
            let entries = history::entries(&client, &format!("definition/{name}")).await?;
            placement::explain(name, &entries)
        }
        Thing::Task(task) => {
            let entries = history::entries(&client, &format!("task/{}", task::id(&task))).await?;
            let name = text(&task.task_definition_arn);
            // Of one that was deleted since, the names of its volumes are not known.
            let definition = task::definition(&client, name).await.ok();
            explain(&task, definition.as_ref(), &entries)
        }
        _ => {
            return Err(Failure::Usage(format!(
                "{} is neither a task nor a task definition; `windlass describe {}` shows it",
                args.subject, args.subject
            )));
        }
    };
    match args.shown.output {
        Format::Json => context.out.json(&json!(explanation)),
        Format::Table => context.out.lines(&render(&explanation)),
    }
}

/// A task where one is meant; what names a definition and no task is the definition.
async fn find(client: &Client, name: &str) -> Result<Thing, Failure> {
    let of_definition = name.starts_with("definition/") || name.contains(":task-definition/");
    if of_definition {
        return thing::find(client, name).await;
    }
    let failure = match task::find(client, name).await {
        Ok(task) => return Ok(Thing::Task(Box::new(task))),
        Err(failure) if failure.exit_code() == 3 => failure,
        Err(failure) => return Err(failure),
    };
    match task::definition(client, name).await {
        Ok(definition) => Ok(Thing::Definition(Box::new(definition))),
        Err(_) => Err(failure),
    }
}

fn render(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![escape::cell(&explanation.summary).into_owned()];
    lines.extend(
        explanation
            .mend
            .iter()
            .map(|mend| format!("To mend it: {}", escape::cell(mend))),
    );
    for evidence in &explanation.evidence {
        lines.push(String::new());
        lines.push(format!("{}:", escape::cell(&evidence.what)));
        lines.extend(
            evidence
                .lines
                .iter()
                .map(|line| format!("  {}", escape::line(line))),
        );
    }
    lines
}

fn explain(task: &Task, definition: Option<&TaskDefinition>, entries: &[Entry]) -> Explanation {
    let cause = cause::of(task, definition, entries);
    let told = sentence::of(&cause, short(task));
    Explanation {
        summary: told.summary,
        mend: told.mend,
        evidence: evidence::of(task, entries, &cause),
    }
}

fn short(task: &Task) -> &str {
    let id = task::id(task);
    id.get(..crate::limits::SHORT_ID).unwrap_or(id)
}

#[cfg(test)]
mod tests;
