//! Holds the tree against the rules that compilers and clippy do not know.
//!
//! - [`edges`]: which crate may use which.
//! - [`lengths`]: files and functions stay short, with a list of exceptions that only shrinks.
//! - [`words`]: what may not stand in which crate, and names that no module may have.
//! - [`safety`]: descriptors, paths, options and secrets as `docs/security.md` has them.
//! - [`promises`]: every test that `docs/security.md` names exists.
//! - [`paths`]: what the documentation points at exists, and `docs/coverage.md` is up to date.
//!
//! Every failure says where, which rule, and how to mend it. The same check runs as a test, so that
//! `cargo test` tells of it too.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

mod edges;
mod lengths;
mod paths;
mod promises;
mod safety;
mod source;
mod words;

use source::Source;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 6] = [".git", ".venv", ".cache", "node_modules", "dist", "target"];

/// A rule that a place breaks.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    /// Below the root, with `/`.
    file: String,
    /// Counted from 1; 0 when the file as a whole is meant.
    line: usize,
    rule: String,
    mend: String,
}

pub(crate) fn run(root: &Path) -> Result<()> {
    let failures = check(root)?;
    if failures.is_empty() {
        return Ok(());
    }
    for failure in &failures {
        eprintln!("{failure}");
    }
    bail!("the tree is not tidy: {} places to mend", failures.len())
}

/// Everything that is untidy, in order of place.
fn check(root: &Path) -> Result<Vec<Failure>> {
    let files = files(root)?;
    let sources: Vec<Source> = files
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| Source::new(path, text))
        .collect();
    let mut failures = edges::check(root)?;
    failures.extend(lengths::check(root, &sources)?);
    if let Err(error) = crate::coverage::run(root, true) {
        let rule = format!("the table of built operations is old: {error:#}");
        failures.push(Failure::new(
            "docs/coverage.md",
            0,
            rule,
            "cargo xtask coverage",
        ));
    }
    for source in &sources {
        failures.extend(words::check(source));
        failures.extend(safety::check(source));
    }
    for (path, text) in &files {
        failures.extend(words::markers(path, text));
        failures.extend(paths::check(root, path, text));
    }
    failures.extend(promises::check(&files));
    failures.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(failures)
}

/// Path below the root and content of every text file that is ours.
fn files(root: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) && !name.starts_with("target-") {
                folders.push(path);
            } else if kind.is_file() {
                // What is not UTF-8 is an image or a fixture, and no rule is about those.
                let Ok(text) = std::fs::read_to_string(&path) else {
                    continue;
                };
                let below = path.strip_prefix(root).unwrap_or(&path);
                found.push((below.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}

impl Failure {
    fn new(file: &str, line: usize, rule: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            rule: rule.into(),
            mend: mend.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}\n    mend: {}",
            self.file, self.line, self.rule, self.mend
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let failures = check(&crate::root()).unwrap();
        let told: Vec<String> = failures.iter().map(Failure::to_string).collect();
        assert!(failures.is_empty(), "\n{}", told.join("\n"));
    }
}
