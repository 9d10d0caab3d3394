//! What the documentation points at exists: links, and paths in code spans that begin with a folder
//! of the tree.

use std::path::Path;

use super::Failure;
use super::source::line_of;

/// Folders at the root whose paths in code spans are checked; anything else with a slash may be a
/// path in a container or on a host.
const FOLDERS: [&str; 8] = [
    "crates/", "docs/", "xtask/", "scripts/", "tests/", "bench/", "console/", ".ci/",
];

pub(super) fn check(root: &Path, path: &str, text: &str) -> Vec<Failure> {
    let at_root = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "STYLE.md",
    ]
    .contains(&path);
    let in_docs = path.starts_with("docs/") && path.ends_with(".md");
    if !at_root && !in_docs {
        return Vec::new();
    }
    let beside = Path::new(path).parent().unwrap_or(Path::new(""));
    let links = links(text).map(|(at, target)| (at, target, root.join(beside).join(target)));
    let spans = spans(text).map(|(at, target)| (at, target, root.join(target)));
    let missing = links.chain(spans).filter(|(_, _, place)| !place.exists());
    missing
        .map(|(at, target, _)| {
            let rule = format!("`{target}` does not exist");
            Failure::new(
                path,
                line_of(text, at),
                rule,
                "name what is there now, or remove it",
            )
        })
        .collect()
}

/// Targets of `[text](target)` inside the tree, without their anchors.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("](").filter_map(|(at, _)| {
        let target = text.get(at + 2..)?.split(')').next()?;
        let target = target.split('#').next()?.trim();
        let inside = !target.is_empty() && !target.contains(':') && !target.starts_with('/');
        inside.then_some((at, target))
    })
}

/// Paths in code spans, without a line number or arguments behind them.
fn spans(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices('`').filter_map(|(at, _)| {
        let span = text.get(at + 1..)?;
        let end =
            span.find(|letter: char| letter == '`' || letter == ':' || letter.is_whitespace());
        let target = span.get(..end?)?;
        let target = target.strip_prefix("./").unwrap_or(target);
        let pattern = target.contains(['<', '*', '{', '…', '$', '(']);
        let ours = FOLDERS.iter().any(|folder| target.starts_with(folder));
        (ours && !pattern).then_some((at, target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_paths_fail() {
        let root = crate::root();
        let text = "See `xtask/src/main.rs:3`, `crates/<name>/src`, `/etc/hosts` and\n\
                    `crates/gone/src/lib.rs`, [here](../xtask/Cargo.toml#x), [there](gone.md),\n\
                    [web](https://example.org/x).";
        let found: Vec<(usize, String)> = check(&root, "docs/page.md", text)
            .into_iter()
            .map(|failure| (failure.line, failure.rule))
            .collect();
        let gone = |what: &str| (2, format!("`{what}` does not exist"));
        assert_eq!(found, [gone("gone.md"), gone("crates/gone/src/lib.rs")]);
        assert!(check(&root, "crates/model/README.md", text).is_empty());
    }
}
