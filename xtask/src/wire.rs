//! Generates the ECS shapes of `crates/wire` from botocore's model: one file per operation, one per
//! noun for the shapes that several operations use, and the table of operations.
//!
//! Only names, types, limits, enum values and requiredness are taken; no text. The result is
//! committed, so that building Windlass needs neither Python nor the model, and so that a change of
//! the API is read as a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::botocore::{Model, Source};

mod names;
mod nouns;
mod render;

const CRATE: &str = "crates/wire/src";
const MEND: &str = "cargo xtask wire";

pub(crate) fn run(root: &Path, model: Option<&Path>, check: bool) -> Result<()> {
    let source = Source::load(root, model)?;
    let files = generate(&source)?;
    crate::write_or_check(root, &files, check, MEND)?;
    let strays = strays(root, &files)?;
    if let (true, Some(stray)) = (check, strays.first()) {
        bail!(
            "{} is no longer generated, mend with `{MEND}`",
            stray.display()
        );
    }
    for stray in strays {
        std::fs::remove_file(root.join(&stray))
            .with_context(|| format!("remove {}", stray.display()))?;
    }
    Ok(())
}

/// Where each shape is written, by the name of its module below `ops` or `shapes`.
struct Plan<'a> {
    model: &'a Model,
    /// Shape name -> module path, e.g. `ops::run_task` or `shapes::task`.
    homes: BTreeMap<&'a str, String>,
}

fn generate(source: &Source) -> Result<Vec<(PathBuf, String)>> {
    let model = &source.model;
    let plan = plan(model)?;
    let mut files = vec![
        ("operation.rs".to_owned(), render::operations(source)),
        ("ops.rs".to_owned(), render::ops_index(model)),
    ];
    let mut by_home: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (shape, home) in &plan.homes {
        by_home.entry(home).or_default().push(shape);
    }
    let nouns: Vec<&str> = by_home
        .keys()
        .filter_map(|h| h.strip_prefix("shapes::"))
        .collect();
    files.push(("shapes.rs".to_owned(), render::shapes_index(&nouns)));
    for (home, shapes) in &by_home {
        files.push((
            format!("{}.rs", home.replace("::", "/")),
            plan.module(home, shapes)?,
        ));
    }
    files
        .into_iter()
        .map(|(name, text)| Ok((Path::new(CRATE).join(&name), rustfmt(&name, &text)?)))
        .collect()
}

/// Gives each structure and enum a home: the one operation that uses it, or else its noun.
fn plan(model: &Model) -> Result<Plan<'_>> {
    let mut users: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, operation) in &model.operations {
        for side in [&operation.input, &operation.output] {
            walk(model, &side.shape, name, &mut users)?;
        }
    }
    let mut homes = BTreeMap::new();
    for (shape, users) in users {
        let described = model.shape(shape)?;
        if described.document || (described.kind != "structure" && described.values.is_empty()) {
            continue;
        }
        let one = users.len() == 1;
        let home = match users.first() {
            Some(operation) if one => format!("ops::{}", names::snake(operation)),
            _ => format!("shapes::{}", nouns::noun_of(shape)?),
        };
        homes.insert(shape, home);
    }
    Ok(Plan { model, homes })
}

/// Notes that `operation` uses `shape` and everything below it.
fn walk<'a>(
    model: &'a Model,
    shape: &'a str,
    operation: &'a str,
    users: &mut BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> Result<()> {
    if !users.entry(shape).or_default().insert(operation) {
        return Ok(());
    }
    let described = model.shape(shape)?;
    let members = described.members.0.iter().map(|(_, member)| member);
    let inner = [&described.member, &described.key, &described.value];
    for below in members.chain(inner.into_iter().flatten()) {
        walk(model, &below.shape, operation, users)?;
    }
    Ok(())
}

/// Generated files of an earlier model that this one no longer has.
fn strays(root: &Path, files: &[(PathBuf, String)]) -> Result<Vec<PathBuf>> {
    let mut strays = Vec::new();
    for folder in ["ops", "shapes"] {
        let folder = Path::new(CRATE).join(folder);
        let Ok(entries) = std::fs::read_dir(root.join(&folder)) else {
            continue;
        };
        for entry in entries {
            let path = folder.join(entry?.file_name());
            if !files.iter().any(|(kept, _)| *kept == path) {
                strays.push(path);
            }
        }
    }
    strays.sort();
    Ok(strays)
}

fn rustfmt(name: &str, text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start rustfmt; it comes with the toolchain")?;
    // The child reads everything before it writes, so a plain write cannot block for ever.
    child
        .stdin
        .take()
        .context("rustfmt has no input")?
        .write_all(text.as_bytes())?;
    let output = child.wait_with_output().context("wait for rustfmt")?;
    ensure!(
        output.status.success(),
        "rustfmt refuses the generated {name}"
    );
    String::from_utf8(output.stdout).context("output of rustfmt")
}
