//! Which crate may use which: the table of the architecture, held against `cargo metadata`.
//!
//! An edge to a crate allows the edges to what that crate may use. Dependencies of tests alone are
//! free.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Failure;

/// Crate, then what it may use. `windlass`, the executable, may use all and is not listed.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("wire", &["model"]),
    ("session", &["model"]),
    ("placement", &["model"]),
    ("cluster", &["model", "placement"]),
    ("node", &["model"]),
    ("store", &["model"]),
    ("server", &["cluster", "store", "session"]),
    ("api", &["server", "wire"]),
    ("tree", &[]),
    ("image", &["model", "tree"]),
    ("network", &["model"]),
    ("runtime", &["model"]),
    (
        "agent",
        &["node", "session", "image", "network", "runtime", "tree"],
    ),
    ("cli", &["wire"]),
    ("console", &[]),
    ("sim", &["cluster", "node", "session", "store"]),
    ("xtask", &[]),
];

/// The crates without IO, clock and randomness.
pub(super) const PURE: [&str; 6] = ["model", "wire", "session", "placement", "cluster", "node"];

/// Foreign crates that bring what a pure crate must not have.
const IMPURE: [&str; 8] = [
    "tokio",
    "hyper",
    "axum",
    "rustix",
    "libc",
    "rustls",
    "tracing-subscriber",
    "tempfile",
];

/// Workspace members that are no part of the product: benchmarks and checks from the outside.
const TOOLS: &[&str] = &["bench", "sdk-check"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

pub(super) fn check(root: &Path) -> Result<Vec<Failure>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root)
        .output()
        .context("run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let metadata = serde_json::from_slice(&output.stdout).context("parse cargo metadata")?;
    Ok(judge(&metadata))
}

fn judge(metadata: &Metadata) -> Vec<Failure> {
    let table: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut failures = Vec::new();
    for package in &metadata.packages {
        let user = short(&package.name);
        // The executable wires everything; tools that try it from the outside are no part of it.
        if user == "windlass" || TOOLS.contains(&user) {
            continue;
        }
        let manifest = match user {
            "xtask" => "xtask/Cargo.toml".to_owned(),
            _ => format!("crates/{user}/Cargo.toml"),
        };
        if !table.contains_key(user) {
            let rule = format!("the crate {user} is not in the table of the architecture");
            let mend = "add it to ARCHITECTURE.md and to MAY_USE in xtask/src/tidy/edges.rs";
            failures.push(Failure::new(&manifest, 0, rule, mend));
            continue;
        }
        let allowed = reach(&table, user);
        for used in &package.dependencies {
            if used.kind.as_deref() == Some("dev") {
                continue;
            }
            let name = short(&used.name);
            let fault = match used.path {
                Some(_) if allowed.contains(name) => None,
                Some(_) => {
                    Some("move the code to a crate that may, or put what both need in model")
                }
                None if PURE.contains(&user) && IMPURE.contains(&name) => {
                    Some("take the value as an argument; IO lies in the shells")
                }
                None => None,
            };
            if let Some(mend) = fault {
                let rule = format!("the crate {user} may not use {name}");
                failures.push(Failure::new(&manifest, 0, rule, mend));
            }
        }
    }
    failures
}

/// What `user` may use, directly or through others.
fn reach<'t>(table: &BTreeMap<&'t str, &'t [&'t str]>, user: &str) -> BTreeSet<&'t str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = table
        .get(user)
        .into_iter()
        .copied()
        .flatten()
        .copied()
        .collect();
    while let Some(name) = next.pop() {
        if reached.insert(name) {
            next.extend(table.get(name).into_iter().copied().flatten());
        }
    }
    reached
}

fn short(package: &str) -> &str {
    package.strip_prefix("windlass-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_outside_the_table_fail() {
        let json = r#"{"packages":[
            {"name":"windlass-api","dependencies":[
                {"name":"windlass-cluster","kind":null,"path":"/x"},
                {"name":"windlass-runtime","kind":null,"path":"/x"},
                {"name":"windlass-agent","kind":"dev","path":"/x"}]},
            {"name":"windlass-model","dependencies":[{"name":"tokio","kind":null,"path":null}]},
            {"name":"windlass-extra","dependencies":[]},
            {"name":"windlass","dependencies":[{"name":"windlass-sim","kind":null,"path":"/x"}]}
        ]}"#;
        let failures = judge(&serde_json::from_str(json).unwrap());
        let rules: Vec<&str> = failures
            .iter()
            .map(|failure| failure.rule.as_str())
            .collect();
        assert_eq!(
            rules,
            [
                "the crate api may not use runtime",
                "the crate model may not use tokio",
                "the crate extra is not in the table of the architecture",
            ]
        );
    }
}
