//! Stays with tasks until they have ended: shows their logs, passes on Ctrl-C, finds the exit code.

use crate::commands::history::{self, Entry};
use crate::commands::logs::{Next, Printer, Query, Record, Records};
use crate::commands::{Context, stop};
use crate::failure::{Failure, RUN_FAILED};
use crate::interrupts::{Interrupt, Interrupts};
use crate::link::{GONE, Link};
use crate::output::Output;
use crate::progress::Progress;
use crate::task::{self, text};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use windlass_wire::shapes::task::Task;
use windlass_wire::shapes::task_definition::TaskDefinition;

/// Messages between those who ask the server and the printer.
const MESSAGES: usize = 64;

/// What there is to say of a task.
enum Message {
    /// Of the task at this place.
    Records(usize, Vec<Record>),
    /// The server is gone, and waited for.
    Gone,
    Note(String),
}

/// Shows the tasks' logs until all have stopped. The exit code of the first task whose code is not 0.
pub(super) async fn follow(
    mut link: Link,
    definition: &TaskDefinition,
    tasks: Vec<Task>,
    container: Option<&str>,
    interrupts: &mut Interrupts,
    context: &mut Context<'_>,
) -> Result<u8, Failure> {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let mut readers = JoinSet::new();
    for (at, task) in tasks.iter().enumerate() {
        let (link, id, sender) = (link.clone(), task::id(task).to_owned(), sender.clone());
        readers.spawn(async move { (at, read(link, id, at, sender).await) });
    }
    let containers = definition.container_definitions.iter().flatten().count();
    let shown = Shown {
        printers: tasks
            .iter()
            .map(|task| printer(task, containers > 1, tasks.len() > 1))
            .collect(),
        is_gone_told: false,
    };
    let stopper = Stopper {
        link: link.clone(),
        tasks,
        asked: 0,
        sender: sender.downgrade(),
        work: JoinSet::new(),
    };
    drop(sender);
    show(receiver, shown, stopper, interrupts, context).await?;
    let mut ended: Vec<(usize, Result<Task, Failure>)> = Vec::new();
    while let Some(done) = readers.join_next().await {
        ended.push(done.map_err(|err| Failure::Failed(format!("follow a task: {err}")))?);
    }
    ended.sort_by_key(|(at, _)| *at);
    let mut code = 0;
    for (_, task) in ended {
        let task = task?;
        let of_task = exit_code(&mut link, definition, &task, container, &mut context.out).await?;
        code = if code == 0 { of_task } else { code };
    }
    Ok(code)
}

/// Prints until nobody has anything to say any more.
async fn show(
    mut receiver: mpsc::Receiver<Message>,
    mut shown: Shown,
    mut stopper: Stopper,
    interrupts: &mut Interrupts,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let progress = Progress::spinner(&context.out, "starting");
    let mut first = Some(progress.during(next(&mut receiver, interrupts)).await);
    loop {
        let event = match first.take() {
            Some(event) => event,
            None => next(&mut receiver, interrupts).await,
        };
        match event {
            Event::Message(message) => match shown.print(&mut context.out, message) {
                Err(failure) if failure.is_hangup() => stopper.hang_up(&mut context.out),
                printed => printed?,
            },
            Event::Interrupt => stopper.interrupt(&mut context.out)?,
            Event::Hangup => stopper.hang_up(&mut context.out),
            Event::End => break,
        }
    }
    for printer in &mut shown.printers {
        printer.end(&mut context.out)?;
    }
    Ok(())
}

enum Event {
    Message(Message),
    Interrupt,
    Hangup,
    End,
}

async fn next(receiver: &mut mpsc::Receiver<Message>, interrupts: &mut Interrupts) -> Event {
    tokio::select! {
        message = receiver.recv() => message.map_or(Event::End, Event::Message),
        interrupt = interrupts.next() => match interrupt {
            Interrupt::Asked => Event::Interrupt,
            Interrupt::Hangup => Event::Hangup,
        },
    }
}

fn printer(task: &Task, several_containers: bool, several_tasks: bool) -> Printer {
    let label = if several_tasks { task::short(task) } else { "" };
    Printer::new(label, several_containers, false)
}

/// What the terminal shows.
struct Shown {
    /// Of each task.
    printers: Vec<Printer>,
    is_gone_told: bool,
}

impl Shown {
    fn print(&mut self, out: &mut Output, message: Message) -> Result<(), Failure> {
        match message {
            Message::Records(at, records) => {
                if let Some(printer) = self.printers.get_mut(at) {
                    for record in &records {
                        printer.print(out, record)?;
                    }
                }
                self.is_gone_told = false;
            }
            // All tasks' readers tell it.
            Message::Gone if self.is_gone_told => {}
            Message::Gone => {
                out.note(GONE);
                self.is_gone_told = true;
            }
            Message::Note(note) => out.note(&note),
        }
        out.flush()
    }
}

/// The first interrupt stops the tasks, the second kills them, the third leaves them as they are.
struct Stopper {
    link: Link,
    tasks: Vec<Task>,
    /// How often it was.
    asked: u32,
    /// Weak, so that the messages have an end without it.
    sender: mpsc::WeakSender<Message>,
    work: JoinSet<()>,
}

impl Stopper {
    /// The terminal is closed: nobody reads any more, and the tasks are stopped as Ctrl-C does it.
    fn hang_up(&mut self, out: &mut Output) {
        out.mute();
        if self.asked == 0 {
            self.asked = 1;
            self.stop(false);
        }
    }

    fn interrupt(&mut self, out: &mut Output) -> Result<(), Failure> {
        self.asked = self.asked.saturating_add(1);
        match self.asked {
            1 => {
                out.note("windlass: stopping; Ctrl-C again kills");
                self.stop(false);
            }
            2 => {
                out.note("windlass: killing; Ctrl-C again leaves the tasks as they are");
                self.stop(true);
            }
            _ => {
                out.note("windlass: left before the tasks have stopped; `windlass ps` shows them");
                return Err(Failure::Interrupted);
            }
        }
        Ok(())
    }

    fn stop(&mut self, kill: bool) {
        for task in &self.tasks {
            let Some(sender) = self.sender.upgrade() else {
                break;
            };
            let (link, task) = (self.link.clone(), task.clone());
            self.work.spawn(stop_surely(link, task, kill, sender));
        }
    }
}

/// Asks that a task stop, as soon as there is a server to ask.
async fn stop_surely(mut link: Link, task: Task, kill: bool, messages: mpsc::Sender<Message>) {
    let reason = Some("Interrupted");
    loop {
        let asked = match kill {
            true => stop::stop_within(&link.client, &task, reason, 0).await,
            false => stop::stop(&link.client, &task, reason).await,
        };
        let Err(failure) = asked else {
            return;
        };
        if failure.is_gone() {
            // Nobody is left to tell only when nobody waits for it.
            let _ = messages.send(Message::Gone).await;
        }
        if let Err(failure) = link.mend(failure).await {
            let note = format!("windlass: {}: {failure}", task::id(&task));
            let _ = messages.send(Message::Note(note)).await;
            return;
        }
    }
}

/// Sends what a task writes, from its start to its end; its last state.
async fn read(
    link: Link,
    id: String,
    at: usize,
    messages: mpsc::Sender<Message>,
) -> Result<Task, Failure> {
    let query = Query {
        task: id,
        follow: true,
        ..Query::default()
    };
    let mut records = Records::new(link, query);
    loop {
        let message = match records.next().await? {
            Next::Records(some) => Message::Records(at, some),
            Next::Gone => Message::Gone,
            Next::End(Some(task)) => return Ok(*task),
            Next::End(None) => {
                return Err(Failure::Failed("the followed logs just end".to_owned()));
            }
        };
        if messages.send(message).await.is_err() {
            return Err(Failure::Interrupted);
        }
    }
}

/// The exit code for a task that has stopped: of the named container, else of the one whose end
/// ended the task, else of the first essential one.
async fn exit_code(
    link: &mut Link,
    definition: &TaskDefinition,
    task: &Task,
    wanted: Option<&str>,
    out: &mut Output,
) -> Result<u8, Failure> {
    let subject = format!("task/{}", task::id(task));
    let entries = loop {
        match history::entries(&link.client, &subject).await {
            Ok(entries) => break entries,
            Err(failure) => link.mend(failure).await?,
        }
    };
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
    let id = task::short(task);
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
