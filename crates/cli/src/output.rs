//! Where output goes: data to stdout, everything else to stderr, and what a terminal is spared.

use crate::environment::Environment;
use crate::escape;
use crate::failure::Failure;
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
    pub(crate) colour: bool,
}

impl Output {
    pub(crate) fn of_process(environment: &Environment) -> Output {
        Output {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            out_is_terminal: environment.stdout_is_terminal,
            err_is_terminal: environment.stderr_is_terminal
                && environment.var("TERM") != Some("dumb"),
            colour: colour(environment),
        }
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

    /// Text that others wrote: harmless on a terminal, as it is in a pipe.
    pub(crate) fn foreign<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.out_is_terminal {
            true => escape::line(text),
            false => Cow::Borrowed(text),
        }
    }
}

/// Whether stdout is coloured. `NO_COLOR` wins (no-color.org), then `CLICOLOR_FORCE`
/// (bixense.com/clicolors).
fn colour(environment: &Environment) -> bool {
    if environment.var("NO_COLOR").is_some() {
        return false;
    }
    if environment
        .var("CLICOLOR_FORCE")
        .is_some_and(|value| value != "0")
    {
        return true;
    }
    environment.stdout_is_terminal && environment.var("TERM") != Some("dumb")
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
                stdout_is_terminal: terminal,
                ..Environment::default()
            };
            assert_eq!(colour(&environment), expected, "{environment:?}");
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
