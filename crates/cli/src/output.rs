//! Where output goes: data to stdout, everything else to stderr, and what a terminal is spared.

use crate::environment::Environment;
use crate::escape;
use crate::failure::Failure;
use crate::table::Table;
use clap::ValueEnum;
use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, Write};

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, the same whether a terminal or a pipe reads them.
    #[default]
    Table,
    /// One JSON value, with the API's names.
    Json,
}

/// `--output`, for the verbs whose answer has both forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Shown {
    /// Form of the answer.
    #[arg(
        long,
        short,
        value_enum,
        default_value = "table",
        value_name = "FORM",
        global = true
    )]
    pub(crate) output: Format,
}

/// The two streams of a process.
pub(crate) struct Output {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    pub(crate) out_is_terminal: bool,
    pub(crate) err_is_terminal: bool,
    /// A terminal on which a line can be drawn anew.
    pub(crate) err_is_smart: bool,
    pub(crate) colour: bool,
    err_colour: bool,
    /// Columns that a table may take; a pipe takes any number.
    columns: Option<usize>,
}

impl Output {
    pub(crate) fn of_process(environment: &Environment) -> Output {
        Output {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            out_is_terminal: environment.stdout_is_terminal,
            err_is_terminal: environment.stderr_is_terminal,
            err_is_smart: environment.stderr_is_terminal && environment.var("TERM") != Some("dumb"),
            colour: colour(environment, environment.stdout_is_terminal),
            err_colour: colour(environment, environment.stderr_is_terminal),
            columns: environment
                .stdout_columns
                .filter(|_| environment.stdout_is_terminal),
        }
    }

    /// From here on nothing is shown: who would read it is gone.
    pub(crate) fn mute(&mut self) {
        self.out = Box::new(io::sink());
        self.err = Box::new(io::sink());
    }

    /// A line of data.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(Failure::Output)
    }

    /// Data as it is.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(Failure::Output)
    }

    pub(crate) fn raw_error(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.err.write_all(bytes).map_err(Failure::Output)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }

    /// Several lines of data.
    pub(crate) fn lines(&mut self, lines: &[String]) -> Result<(), Failure> {
        lines.iter().try_for_each(|line| self.line(line))
    }

    /// A table's lines, which fit a terminal and are whole in a pipe.
    pub(crate) fn table(&self, table: &Table) -> Vec<String> {
        table.render_within(self.colour, self.columns)
    }

    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|err| Failure::Failed(format!("render JSON: {err}")))?;
        self.line(&text)
    }

    /// A remark beside the data. A stderr that is gone is not worth an error.
    pub(crate) fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{}", escape::block(text));
    }

    /// What to do next, for a person.
    pub(crate) fn hint(&mut self, text: &str) {
        if self.err_is_terminal {
            self.note(text);
        }
    }

    /// A line that a container wrote, for the stream that it goes to: on a terminal only its colours
    /// pass, in a pipe everything.
    pub(crate) fn logged<'t>(&self, text: &'t str, to_error: bool) -> Cow<'t, str> {
        let (is_terminal, colour) = match to_error {
            true => (self.err_is_terminal, self.err_colour),
            false => (self.out_is_terminal, self.colour),
        };
        match is_terminal {
            true => escape::logged(text, colour),
            false => Cow::Borrowed(text),
        }
    }
}

/// Whether a stream is coloured. `NO_COLOR` wins (no-color.org), then `CLICOLOR_FORCE`
/// (bixense.com/clicolors).
fn colour(environment: &Environment, is_terminal: bool) -> bool {
    if environment.var("NO_COLOR").is_some() {
        return false;
    }
    if environment
        .var("CLICOLOR_FORCE")
        .is_some_and(|value| value != "0")
    {
        return true;
    }
    is_terminal && environment.var("TERM") != Some("dumb")
}

/// The API's times, seconds since the epoch in members that end with `At`, as RFC 3339.
pub(crate) fn readable_times(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(readable_times),
        Value::Object(members) => {
            for (name, value) in members {
                let seconds = value.as_f64().filter(|_| name.ends_with("At"));
                match seconds.and_then(windlass_wire::Timestamp::from_seconds) {
                    Some(time) => *value = Value::String(crate::words::rfc3339(time.0)),
                    None => readable_times(value),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_as_the_environment_wants() {
        type Vars = &'static [(&'static str, &'static str)];
        let table: [(Vars, bool, bool); 7] = [
            (&[], true, true),
            (&[], false, false),
            (&[("TERM", "dumb")], true, false),
            (&[("NO_COLOR", "1")], true, false),
            (&[("NO_COLOR", "")], true, true),
            (&[("CLICOLOR_FORCE", "1")], false, true),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false),
        ];
        for (vars, terminal, expected) in table {
            let vars = vars
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect();
            let environment = Environment {
                vars,
                ..Environment::default()
            };
            assert_eq!(colour(&environment, terminal), expected, "{environment:?}");
        }
    }

    #[test]
    fn times_become_readable() {
        let mut value = serde_json::json!({
            "createdAt": 1_732_000_000.5, "tasks": [{ "stoppedAt": 0 }], "count": 1.5, "startedAt": "x",
        });
        readable_times(&mut value);
        assert_eq!(value["createdAt"], "2024-11-19T07:06:40.5Z");
        assert_eq!(value["tasks"][0]["stoppedAt"], "1970-01-01T00:00:00Z");
        assert_eq!(
            (&value["count"], &value["startedAt"]),
            (&1.5.into(), &"x".into())
        );
    }
}
