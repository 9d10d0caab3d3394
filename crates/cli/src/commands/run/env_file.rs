//! `--env-file`: variables of a container, a line each, in the form that docker reads.

use crate::environment::Environment;
use crate::failure::Failure;
use crate::limits;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub(super) fn read(
    path: &Path,
    environment: &Environment,
) -> Result<Vec<(String, String)>, Failure> {
    let shown = path.display();
    let limit = limits::DEFINITION_BYTES_MAX;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text));
    let length = read.map_err(Failure::file(format!("read the variables in {shown}")))?;
    if length as u64 > limit {
        return Err(Failure::Usage(format!(
            "{shown} has over {limit} bytes of variables"
        )));
    }
    parse(&text, environment).map_err(|why| Failure::Usage(format!("{shown}: {why}")))
}

fn parse(text: &str, environment: &Environment) -> Result<Vec<(String, String)>, String> {
    let mut vars = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) => vars.push((checked(name, at)?, value.to_owned())),
            // Whoever has it not set does not pass it on.
            None => {
                let name = checked(line, at)?;
                if let Some(value) = environment.vars.get(&name) {
                    vars.push((name, value.clone()));
                }
            }
        }
    }
    Ok(vars)
}

fn checked(name: &str, at: usize) -> Result<String, String> {
    let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    match is_name {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "line {} is not NAME=VALUE: {name}",
            at.saturating_add(1)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_docker_reads_them() {
        let vars = [("HERE".to_owned(), "1".to_owned())].into();
        let environment = Environment {
            vars,
            ..Environment::default()
        };
        let text = "# comment\n\n  A=1\r\nB=a=b # kept \nC=\nHERE\nNOT_HERE\nQ=\"x\"\n";
        let expected = [
            ("A", "1"),
            ("B", "a=b # kept "),
            ("C", ""),
            ("HERE", "1"),
            ("Q", "\"x\""),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text, &environment).unwrap(), expected);
        for text in ["=1", "A=1\nexport B=2", "A B"] {
            assert!(parse(text, &environment).is_err(), "{text}");
        }
    }
}
