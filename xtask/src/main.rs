//! Repository chores, run as `cargo xtask <chore>`.
//!
//! - `wire [--check] [service-2.json.gz]` writes the generated part of `crates/wire` from the pinned
//!   botocore model, or with `--check` says what differs.
//! - `coverage [--check]` writes `docs/coverage.md`: which ECS operations are built.
//! - `tidy` holds the tree against the rules that compilers and clippy do not know.
//!
//! Chores read and write the work tree only; nothing here is part of the product.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

mod botocore;
mod coverage;
mod tidy;
mod wire;

const USAGE: &str = "usage: cargo xtask <chore>
  wire [--check] [service-2.json.gz]   generate crates/wire from the pinned botocore model
  coverage [--check]                   write docs/coverage.md
  tidy                                 check the repository's own rules";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let root = root();
    let Some((chore, rest)) = arguments.split_first() else {
        bail!("no chore named\n{USAGE}");
    };
    let check = rest.iter().any(|argument| argument == "--check");
    let mut operands = rest.iter().filter(|argument| *argument != "--check");
    match chore.as_str() {
        "wire" => {
            let model = operands.next().map(PathBuf::from);
            wire::run(&root, model.as_deref(), check)
        }
        "coverage" => coverage::run(&root, check),
        "tidy" => tidy::run(&root),
        other => bail!("there is no chore {other:?}\n{USAGE}"),
    }
}

/// The folder that holds the workspace, wherever the chore was called from.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// Writes `files` (paths below `root`), or with `check` names the first few that differ.
fn write_or_check(root: &Path, files: &[(PathBuf, String)], check: bool, mend: &str) -> Result<()> {
    let mut stale = Vec::new();
    for (path, text) in files {
        let target = root.join(path);
        if std::fs::read_to_string(&target).is_ok_and(|old| old == *text) {
            continue;
        }
        if check {
            stale.push(path.display().to_string());
            continue;
        }
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("create {}", folder.display()))?;
        }
        std::fs::write(&target, text).with_context(|| format!("write {}", target.display()))?;
    }
    if !stale.is_empty() {
        bail!(
            "{} out of date, mend with `{mend}`: {}",
            stale.len(),
            stale.join(", ")
        );
    }
    Ok(())
}
