//! `logs`: what the containers of a task wrote.

mod records;

pub(crate) use records::{Next, Query, Records};

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::link::GONE;
use crate::output::{Format, Output, Shown};
use crate::task::{self, text};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  windlass logs 3f2a                     all there is, of all containers
  windlass logs web                      of the one task of a family
  windlass logs -f --tail 20 3f2a web    the last 20 lines of one container, and what comes
  windlass logs 3f2a --since 10m         of the last ten minutes; or --since 2026-01-31T12:00:00Z
  windlass logs 3f2a --stream stderr     of one stream alone
  windlass logs 3f2a --output json       one record a line, with stream and time";

/// Show the logs of a task.
///
/// What a container wrote to its standard error goes to standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct LogsArgs {
    /// ARN, id, a unique beginning of an id, or a family that one task has.
    #[arg(value_name = "TASK")]
    task: String,
    /// Only this container.
    #[arg(value_name = "CONTAINER")]
    container: Option<String>,
    /// Go on with new lines until the task's containers have ended.
    #[arg(long, short)]
    follow: bool,
    /// Only the last so many lines of each container.
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
    /// Only what was written since: a time, or how long ago, like 90s, 10m or 2h30m.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<String>,
    /// Only this of a container's streams.
    #[arg(long, value_enum, value_name = "STREAM")]
    stream: Option<Stream>,
    /// Begin each line with its time.
    #[arg(long, short)]
    timestamps: bool,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// As records name it.
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// A time, or how long ago, in the form of a record's time.
fn moment(given: &str) -> Result<String, String> {
    let now = jiff::Timestamp::now();
    let utc = |time: jiff::civil::DateTime| time.to_zoned(jiff::tz::TimeZone::UTC);
    let time = match given.parse::<jiff::Timestamp>() {
        Ok(time) => Some(time),
        // Without a zone, as records show it.
        Err(_) if given.contains('-') => {
            let time = given.parse::<jiff::civil::DateTime>().ok();
            time.and_then(|time| utc(time).ok())
                .map(|it| it.timestamp())
        }
        Err(_) => ago(given).and_then(|ago| now.checked_sub(ago).ok()),
    };
    let wrong =
        "a time is like 2026-01-31T12:00:00Z, 2026-01-31 or, of how long ago, 90s, 10m, 2h30m, 3d";
    time.map(|time| format!("{time:.9}"))
        .ok_or_else(|| wrong.to_owned())
}

fn ago(given: &str) -> Option<jiff::SignedDuration> {
    let span: jiff::Span = given.parse().ok()?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    span.to_duration(days).ok().filter(|it| !it.is_negative())
}

/// One record of GetLogs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) container: String,
    pub(crate) stream: String,
    pub(crate) timestamp: String,
    pub(crate) text: String,
    /// Whether the line goes on in the next record.
    #[serde(default)]
    pub(crate) partial: bool,
}

pub(crate) async fn run(args: LogsArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let link = context.link()?;
    let (query, several) = asked(&link.client, &args).await?;
    let is_wanted = |record: &Record| args.stream.is_none_or(|it| it.name() == record.stream);
    let mut printer = Printer::new("", several, args.timestamps);
    let mut records = Records::new(link, query);
    loop {
        let some = match records.next().await? {
            Next::Records(some) => some,
            Next::Gone => {
                context.out.note(GONE);
                continue;
            }
            Next::End(_) => return printer.end(&mut context.out),
        };
        for record in some.iter().filter(|record| is_wanted(record)) {
            match args.shown.output {
                Format::Json => context.out.line(&json!(record).to_string())?,
                Format::Table => printer.print(&mut context.out, record)?,
            }
        }
        context.out.flush()?;
    }
}

/// What is asked for, and whether it may be of several containers.
async fn asked(client: &Client, args: &LogsArgs) -> Result<(Query, bool), Failure> {
    let query = |task: &str, follow: bool| Query {
        task: task.to_owned(),
        tail: args.tail,
        since: args.since.clone(),
        follow,
        container: args.container.clone(),
    };
    let found = match task::find(client, &args.task).await {
        // Logs are kept for longer than the task itself: by its whole id they are still found.
        Err(failure) if failure.exit_code() == 3 => {
            let id = task::whole_id(&args.task).ok_or(failure)?;
            return Ok((query(id, false), args.container.is_none()));
        }
        found => found?,
    };
    let containers = found.containers.iter().flatten();
    let containers: Vec<&str> = containers.map(|it| text(&it.name)).collect();
    if let Some(wanted) = args
        .container
        .as_deref()
        .filter(|it| !containers.contains(it))
    {
        return Err(Failure::NotFound(format!(
            "the task has no container {wanted}: it has {}",
            containers.join(", ")
        )));
    }
    let several = containers.len() > 1 && args.container.is_none();
    Ok((query(task::id(&found), args.follow), several))
}

/// Makes lines of records.
pub(crate) struct Printer {
    /// Whether lines begin with the container's name.
    prefix: bool,
    timestamps: bool,
    /// Stands before the container's name: which task it is of.
    label: String,
    /// The container and stream of a line that has not ended.
    open: Option<(String, String)>,
}

impl Printer {
    pub(crate) fn new(label: &str, prefix: bool, timestamps: bool) -> Printer {
        Printer {
            prefix,
            timestamps,
            label: label.to_owned(),
            open: None,
        }
    }

    /// Writes one record to the stream that it was written to.
    pub(crate) fn print(&mut self, out: &mut Output, record: &Record) -> Result<(), Failure> {
        let to_error = record.stream == "stderr";
        let text = self.text(record, &out.logged(&record.text, to_error));
        match to_error {
            true => out.raw_error(text.as_bytes()),
            false => out.raw(text.as_bytes()),
        }
    }

    fn text(&mut self, record: &Record, safe: &str) -> String {
        let source = (record.container.clone(), record.stream.clone());
        let mut text = String::new();
        let goes_on = self.open.as_ref() == Some(&source);
        if !goes_on {
            // Another container wrote in between: its line is not the rest of the open one.
            if self.open.is_some() {
                text.push('\n');
            }
            if self.timestamps {
                text.push_str(&record.timestamp);
                text.push(' ');
            }
            if self.prefix || !self.label.is_empty() {
                let name = if self.prefix {
                    record.container.as_str()
                } else {
                    ""
                };
                let gap = if self.prefix && !self.label.is_empty() {
                    " "
                } else {
                    ""
                };
                text.push_str(&format!("{}{gap}{name} | ", self.label));
            }
        }
        text.push_str(safe);
        self.open = match record.partial {
            true => Some(source),
            false => {
                text.push('\n');
                None
            }
        };
        text
    }

    /// Ends a line that was left open.
    pub(crate) fn end(&mut self, out: &mut Output) -> Result<(), Failure> {
        match self.open.take() {
            Some(_) => out.raw(b"\n"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(container: &str, text: &str, partial: bool) -> Record {
        Record {
            container: container.into(),
            stream: "stdout".into(),
            timestamp: "2026-01-01T00:00:00.5Z".into(),
            text: text.into(),
            partial,
        }
    }

    fn printed(mut printer: Printer, records: &[Record]) -> String {
        records
            .iter()
            .map(|record| printer.text(record, &record.text))
            .collect()
    }

    #[test]
    fn a_long_line_comes_together_again() {
        let records = [
            record("a", "x", true),
            record("a", "y", false),
            record("a", "z", false),
        ];
        assert_eq!(printed(Printer::new("", false, false), &records), "xy\nz\n");
        let records = [
            record("a", "x", true),
            record("b", "y", false),
            record("a", "z", false),
        ];
        let printer = Printer::new("", true, false);
        assert_eq!(printed(printer, &records), "a | x\nb | y\na | z\n");
    }

    #[test]
    fn lines_say_when_and_whose() {
        let printer = Printer::new("3f2a", true, true);
        let text = printed(printer, &[record("web", "hello", false)]);
        assert_eq!(text, "2026-01-01T00:00:00.5Z 3f2a web | hello\n");
        let printer = Printer::new("3f2a", false, false);
        assert_eq!(
            printed(printer, &[record("web", "hello", false)]),
            "3f2a | hello\n"
        );
    }

    #[test]
    fn a_time_is_given_in_several_ways() {
        for (given, expected) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000000Z"),
            (
                "2026-01-31T12:00:00.5+02:00",
                "2026-01-31T10:00:00.500000000Z",
            ),
            ("2026-01-31T12:00", "2026-01-31T12:00:00.000000000Z"),
            ("2026-01-31", "2026-01-31T00:00:00.000000000Z"),
        ] {
            assert_eq!(moment(given).as_deref(), Ok(expected), "{given}");
        }
        let now = format!("{:.9}", jiff::Timestamp::now());
        for (given, longer) in [
            ("10m", "11m"),
            ("2h30m", "3h"),
            ("90s", "2m"),
            ("1d", "25h"),
        ] {
            let (near, far) = (moment(given).unwrap(), moment(longer).unwrap());
            assert!(far < near && near < now, "{given}: {near}");
        }
        for given in ["", "soon", "-5m", "10", "2026-13-01", "1y2"] {
            assert!(moment(given).is_err(), "{given}");
        }
    }
}
