//! Stays with tasks until they have ended: shows their logs, passes on Ctrl-C, finds the exit code.

use crate::client::Client;
use crate::commands::history::{self, Entry};
use crate::commands::logs::{self, Printer, Query, Record};
use crate::commands::wait::until;
use crate::commands::{Context, stop};
use crate::failure::{Failure, RUN_FAILED};
use crate::output::Output;
use crate::progress::Progress;
use crate::task::{self, text};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use windlass_wire::shapes::task::Task;
use windlass_wire::shapes::task_definition::TaskDefinition;

/// Records between the readers of the tasks' logs and the printer.
const RECORDS: usize = 64;

type Records = (usize, Vec<Record>);

/// Shows the tasks' logs until all have stopped. The exit code of the first task whose code is not 0.
pub(super) async fn follow(
    client: &Client,
    definition: &TaskDefinition,
    tasks: Vec<Task>,
    container: Option<&str>,
    context: &mut Context<'_>,
) -> Result<u8, Failure> {
    let mut interrupts = Interrupts::new()?;
    let several = definition
        .container_definitions
        .as_ref()
        .is_some_and(|all| all.len() > 1);
    let mut printers: Vec<Printer> = tasks
        .iter()
        .map(|task| printer(task, several, tasks.len() > 1))
        .collect();
    let (sender, mut receiver) = mpsc::channel(RECORDS);
    let mut readers = tokio::task::JoinSet::new();
    for (at, task) in tasks.iter().enumerate() {
        let (client, id, sender) = (client.clone(), task::id(task).to_owned(), sender.clone());
        readers.spawn(async move { (at, read(&client, &id, at, &sender).await) });
    }
    drop(sender);
    let progress = Progress::spinner(&context.out, "starting");
    let first = progress.during(async {
        tokio::select! {
            records = receiver.recv() => Ok(records),
            () = interrupts.next() => Err(()),
        }
    });
    let mut asked = false;
    match first.await {
        Ok(Some(records)) => print(&mut printers, &mut context.out, records)?,
        Ok(None) => {}
        Err(()) => asked = interrupt(client, &tasks, asked, &mut context.out).await?,
    }
    loop {
        tokio::select! {
            records = receiver.recv() => match records {
                Some(records) => print(&mut printers, &mut context.out, records)?,
                None => break,
            },
            () = interrupts.next() => {
                asked = interrupt(client, &tasks, asked, &mut context.out).await?;
            }
        }
    }
    for printer in &mut printers {
        printer.end(&mut context.out)?;
    }
    let mut ended: Vec<(usize, Result<Task, Failure>)> = Vec::new();
    while let Some(done) = readers.join_next().await {
        ended.push(done.map_err(|err| Failure::Failed(format!("follow a task: {err}")))?);
    }
    ended.sort_by_key(|(at, _)| *at);
    let mut code = 0;
    for (_, task) in ended {
        let task = task?;
        let of_task = exit_code(client, definition, &task, container, &mut context.out).await?;
        code = if code == 0 { of_task } else { code };
    }
    Ok(code)
}

fn printer(task: &Task, several_containers: bool, several_tasks: bool) -> Printer {
    let id = task::id(task);
    let short = id.get(..crate::limits::SHORT_ID).unwrap_or(id);
    Printer::new(
        if several_tasks { short } else { "" },
        several_containers,
        false,
    )
}

fn print(
    printers: &mut [Printer],
    out: &mut Output,
    (at, records): Records,
) -> Result<(), Failure> {
    if let Some(printer) = printers.get_mut(at) {
        for record in &records {
            printer.print(out, record, true)?;
        }
    }
    out.flush()
}

/// The first interrupt stops the tasks, the second leaves them as they are.
async fn interrupt(
    client: &Client,
    tasks: &[Task],
    asked: bool,
    out: &mut Output,
) -> Result<bool, Failure> {
    if asked {
        out.note("windlass: left before the tasks have stopped; `windlass ps -a` shows them");
        return Err(Failure::Interrupted);
    }
    out.note("windlass: stopping; Ctrl-C again leaves the tasks as they are");
    for task in tasks {
        if let Err(err) = stop::stop(client, task, Some("Interrupted")).await {
            out.note(&format!("windlass: {}: {err}", task::id(task)));
        }
    }
    Ok(true)
}

/// Sends what a task writes, from its start to its end; its last state.
async fn read(
    client: &Client,
    id: &str,
    at: usize,
    records: &mpsc::Sender<Records>,
) -> Result<Task, Failure> {
    let has_begun = |task: &Task| {
        let began = |status: &str| status == "RUNNING" || status == "STOPPED";
        task::is_stopped(task)
            || task
                .containers
                .iter()
                .flatten()
                .any(|it| began(text(&it.last_status)))
    };
    let task = until(client, id, has_begun).await?;
    let never_ran = task
        .containers
        .iter()
        .flatten()
        .all(|it| it.exit_code.is_none());
    // Of a container that was never started there is nothing to read.
    if !(task::is_stopped(&task) && never_ran) {
        let query = Query {
            tail: None,
            follow: true,
            container: None,
        };
        let mut pieces = logs::open(client, id, &query).await?;
        while let Some(some) = pieces.next_records::<Record>().await? {
            if records.send((at, some)).await.is_err() {
                break;
            }
        }
    }
    until(client, id, task::is_stopped).await
}

/// The exit code for a task that has stopped: of the named container, else of the one whose end
/// ended the task, else of the first essential one.
async fn exit_code(
    client: &Client,
    definition: &TaskDefinition,
    task: &Task,
    wanted: Option<&str>,
    out: &mut Output,
) -> Result<u8, Failure> {
    let entries = history::entries(client, &format!("task/{}", task::id(task))).await?;
    let code = code_of(definition, task, wanted, &entries);
    if let Some(note) = why_it_failed(task, code.is_none()) {
        out.note(&note);
    }
    Ok(code.unwrap_or(RUN_FAILED))
}

/// What the containers' own output does not say: that one was not started or was killed for memory.
fn why_it_failed(task: &Task, no_code: bool) -> Option<String> {
    let containers = task.containers.iter().flatten();
    let mut reasons: Vec<&str> = containers.filter_map(|it| it.reason.as_deref()).collect();
    if no_code && reasons.is_empty() {
        reasons.push(text(&task.stopped_reason));
    }
    if reasons.is_empty() {
        return None;
    }
    let id = task::id(task);
    let id = id.get(..crate::limits::SHORT_ID).unwrap_or(id);
    Some(format!(
        "windlass: {id} {}; `windlass why {id}` tells more",
        reasons.join("; ")
    ))
}

pub(super) fn code_of(
    definition: &TaskDefinition,
    task: &Task,
    wanted: Option<&str>,
    entries: &[Entry],
) -> Option<u8> {
    let ended = entries.iter().find(|entry| entry.event == "stopWanted");
    let ended = ended
        .map(|entry| entry.detail("container"))
        .filter(|name| !name.is_empty());
    let essential = definition.container_definitions.iter().flatten();
    let essential = essential
        .filter(|it| it.essential != Some(false))
        .map(|it| text(&it.name));
    let mut names = wanted.into_iter().chain(ended).chain(essential);
    let code = |name: &str| {
        let mut containers = task.containers.iter().flatten();
        containers
            .find(|container| text(&container.name) == name)?
            .exit_code
    };
    let code = match wanted {
        Some(name) => code(name),
        None => names.find_map(code),
    }?;
    // Beyond a byte a process cannot pass it on.
    Some(u8::try_from(code).unwrap_or(RUN_FAILED))
}

/// Ctrl-C and a request to terminate.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> Result<Interrupts, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::file("listen for signals"));
        Ok(Interrupts {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
