//! Files and functions stay short. Those that were longer when the rule came are listed in
//! `xtask/ratchet.txt` with their length; a length there may only be lowered.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::Failure;
use super::source::{Source, block_end, line_of, words};

const RATCHET: &str = "xtask/ratchet.txt";

/// Lines of a file that is written by hand.
const FILE_LINES_MAX: usize = 600;

/// Lines of a function, from `fn` to its closing brace. Tests are free: they are often tables.
const FUNCTION_LINES_MAX: usize = 80;

/// What is allowed to be longer: `path` or `path::function`, with its length.
type Exceptions = BTreeMap<String, (usize, usize)>;

pub(super) fn check(root: &Path, sources: &[Source]) -> Result<Vec<Failure>> {
    let text =
        std::fs::read_to_string(root.join(RATCHET)).with_context(|| format!("read {RATCHET}"))?;
    let mut failures = Vec::new();
    let exceptions = exceptions(&text, &mut failures);
    failures.extend(judge(sources, &exceptions));
    Ok(failures)
}

/// Reads lines such as `crates/model/src/task.rs::decode 93`; `#` begins a comment.
fn exceptions(text: &str, failures: &mut Vec<Failure>) -> Exceptions {
    let mut exceptions = Exceptions::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let entry = line.split_once(' ').and_then(|(place, length)| {
            Some((place.to_owned(), length.trim().parse::<usize>().ok()?))
        });
        match entry {
            Some((place, length)) => {
                exceptions.insert(place, (length, index + 1));
            }
            None => failures.push(Failure::new(
                RATCHET,
                index + 1,
                "an exception is a place and its length in lines",
                "write e.g. `crates/model/src/task.rs::decode 93`",
            )),
        }
    }
    exceptions
}

fn judge(sources: &[Source], exceptions: &Exceptions) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut lengths: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.generated) {
        let max = exceptions
            .get(&source.path)
            .map_or(FILE_LINES_MAX, |(max, _)| *max);
        if source.path.contains("src/") && source.lines > max {
            let rule = format!("the file has {} lines, more than {max}", source.lines);
            let mend = "give a noun of it a file of its own";
            failures.push(Failure::new(&source.path, 0, rule, mend));
        }
        lengths.insert(source.path.clone(), source.lines);
        for (name, line, length) in functions(&source.product) {
            let place = format!("{}::{name}", source.path);
            let max = exceptions
                .get(&place)
                .map_or(FUNCTION_LINES_MAX, |(max, _)| *max);
            if length > max {
                let rule = format!("the function {name} has {length} lines, more than {max}");
                let mend = "split off a step that has a name";
                failures.push(Failure::new(&source.path, line, rule, mend));
            }
            let longest = lengths.entry(place).or_default();
            *longest = length.max(*longest);
        }
    }
    for (place, (recorded, line)) in exceptions {
        let length = lengths.get(place).copied().unwrap_or_default();
        let limit = if place.contains("::") {
            FUNCTION_LINES_MAX
        } else {
            FILE_LINES_MAX
        };
        if length < *recorded {
            let mend = if length > limit {
                format!("write {length} for it")
            } else {
                "remove the line".to_owned()
            };
            let rule = format!("{place} has {length} lines now, less than the {recorded} here");
            failures.push(Failure::new(RATCHET, *line, rule, mend));
        }
    }
    failures
}

/// Name, line and length of every function with a body.
fn functions(code: &str) -> Vec<(&str, usize, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let rest = code.get(at + 2..).unwrap_or_default();
        let name = rest.trim_start();
        let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
        let Some(open) = body(rest).filter(|_| !name.is_empty()) else {
            continue;
        };
        let lines = code
            .get(at..block_end(code, at + 2 + open))
            .unwrap_or_default()
            .lines()
            .count();
        found.push((name, line_of(code, at), lines));
    }
    found
}

/// Where the body opens; nothing for a declaration. A `;` inside brackets is an array's.
fn body(signature: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in signature.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(name: &str, lines: usize) -> String {
        format!("fn {name}(a: [u8; 2]) {{\n{}}}\n", "x;\n".repeat(lines - 2))
    }

    fn rules(text: &str, ratchet: &str) -> Vec<String> {
        let mut failures = Vec::new();
        let exceptions = exceptions(ratchet, &mut failures);
        failures.extend(judge(
            &[Source::new("crates/a/src/b.rs", text)],
            &exceptions,
        ));
        failures
            .iter()
            .map(|f| format!("{}:{} {}", f.file, f.line, f.rule))
            .collect()
    }

    #[test]
    fn functions_are_measured_by_their_braces() {
        let code =
            "trait A { fn a(&self); }\nfn b() -> [u8; 1] {\n  if x { y }\n}\ntype F = fn(u8);";
        assert_eq!(functions(code), [("b", 2, 3)]);
    }

    #[test]
    fn long_functions_and_files_fail() {
        assert_eq!(
            rules(&long("a", FUNCTION_LINES_MAX), ""),
            Vec::<String>::new()
        );
        assert_eq!(
            rules(&long("a", 81), ""),
            ["crates/a/src/b.rs:1 the function a has 81 lines, more than 80"]
        );
        let file = "x\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(
            rules(&file, ""),
            ["crates/a/src/b.rs:0 the file has 601 lines, more than 600"]
        );
        assert_eq!(
            rules(&format!("// Generated by x\n{file}"), ""),
            Vec::<String>::new()
        );
    }

    #[test]
    fn exceptions_only_shrink() {
        let text = long("a", 90);
        let place = "crates/a/src/b.rs::a";
        assert_eq!(
            rules(&text, &format!("# why\n{place} 90\n")),
            Vec::<String>::new()
        );
        assert_eq!(rules(&text, &format!("{place} 89")).len(), 1);
        assert_eq!(
            rules(&text, &format!("{place} 91")),
            [format!(
                "{RATCHET}:1 {place} has 90 lines now, less than the 91 here"
            )]
        );
        assert_eq!(rules("", "crates/gone.rs 700").len(), 1);
        assert_eq!(rules("", "crates/gone.rs").len(), 1);
    }
}
