//! What `docs/security.md` says is held by a test is: every `path::name` in it is a test there.
//!
//! A test is a function under `#[test]`, a case in a table of cases (`("name", name)`), or a name in
//! a list that a macro makes tests of.

use std::collections::BTreeMap;

use super::Failure;
use super::source::{line_of, words};

const DOCUMENT: &str = "docs/security.md";

pub(super) fn check(files: &[(String, String)]) -> Vec<Failure> {
    let texts: BTreeMap<&str, &str> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let Some(document) = texts.get(DOCUMENT) else {
        return Vec::new();
    };
    let missing = promises(document).filter(|(_, path, name)| {
        !texts
            .get(path)
            .is_some_and(|text| is_test(path, text, name))
    });
    missing
        .map(|(at, path, name)| {
            let rule = format!("there is no test `{name}` in {path}");
            let mend = "name the test that holds the line now, or say when it will be held";
            Failure::new(DOCUMENT, line_of(document, at), rule, mend)
        })
        .collect()
}

/// Offset, path and name of every `path::name` in a code span.
fn promises(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    text.match_indices('`').filter_map(|(at, _)| {
        let span = text.get(at + 1..)?.split('`').next()?;
        let (path, name) = span.split_once("::")?;
        let of_tree = path.contains('/') && (path.ends_with(".rs") || path.ends_with(".py"));
        of_tree.then_some((at, path, name))
    })
}

fn is_test(path: &str, text: &str, name: &str) -> bool {
    if path.ends_with(".py") {
        return text.contains(&format!("def {name}("));
    }
    let marked = words(text, name).any(|at| {
        let before = text.get(..at).unwrap_or_default();
        let Some(before) = before.trim_end().strip_suffix("fn") else {
            return false;
        };
        // Attributes and the word `async` stand between.
        let from = before.rfind(['}', ';', '{']).map_or(0, |end| end + 1);
        before
            .get(from..)
            .is_some_and(|marks| marks.contains("test]") || marks.contains("::test"))
    });
    let case = text.contains(&format!("(\"{name}\",")) || in_table(text, name);
    marked || case || in_macro(text, name)
}

/// A case whose line was broken: `(`, the name, and the function on lines of their own.
fn in_table(text: &str, name: &str) -> bool {
    let quoted = format!("\"{name}\",");
    text.match_indices(&quoted).any(|(at, _)| {
        text.get(..at)
            .is_some_and(|before| before.trim_end().ends_with('('))
    })
}

/// A list of names, one a line, in the braces of `scenarios!`.
fn in_macro(text: &str, name: &str) -> bool {
    let Some(list) = text
        .split("\nscenarios! {")
        .nth(1)
        .and_then(|rest| rest.split('}').next())
    else {
        return false;
    };
    list.lines().any(|line| line.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_needs_its_test() {
        let document = "`a/t.rs::one`, `a/t.rs::two`, `a/t.rs::three`, `a/t.rs::four`,\n\
                        `a/t.rs::five`, `a/t.rs::six` `a/gone.rs::one` and `Store::open`";
        let tests = "fn zero() {}\n#[test]\nfn one() {}\nfn two() {}\n\
                     const CASES: &[Case] = &[(\"three\", three), (\n\"four\",\nfour)];\n\
                     scenarios! {\n    five\n}\n#[tokio::test]\nasync fn six() {}\n";
        let files = [
            ("a/t.rs".to_owned(), tests.to_owned()),
            (DOCUMENT.to_owned(), document.to_owned()),
        ];
        let rules: Vec<String> = check(&files)
            .into_iter()
            .map(|failure| failure.rule)
            .collect();
        assert_eq!(
            rules,
            [
                "there is no test `two` in a/t.rs",
                "there is no test `one` in a/gone.rs"
            ]
        );
    }
}
