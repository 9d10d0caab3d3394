//! Writes the table of `docs/coverage.md`: which ECS operations Windlass has built.
//!
//! The operations come from the generated table in `crates/wire`; an operation is built when its
//! file lies in `crates/api/src/ops`. Only what stands between the two markers is written, so the
//! rest of the page belongs to its authors.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const PAGE: &str = "docs/coverage.md";
const TABLE: &str = "crates/wire/src/operation.rs";
const BUILT: &str = "crates/api/src/ops";
const START: &str = "<!-- operations: written by `cargo xtask coverage` -->";
const END: &str = "<!-- end of operations -->";

/// The page before anybody wrote on it.
const BLANK: &str = "# Coverage of the ECS API\n\n\
    Calls of an operation that is not built are refused with an error that says so; nothing is\n\
    ignored silently.\n\n";

pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let table = root.join(TABLE);
    let table =
        std::fs::read_to_string(&table).with_context(|| format!("read {}", table.display()))?;
    let operations = operations(&table);
    ensure!(!operations.is_empty(), "{TABLE} lists no operations");
    let built = |stem: &str| root.join(BUILT).join(format!("{stem}.rs")).exists();
    let page = std::fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    let page = page_with(&page, &rows(&operations, built))?;
    crate::write_or_check(
        root,
        &[(PathBuf::from(PAGE), page)],
        check,
        "cargo xtask coverage",
    )
}

/// Names and file stems of the operations, from lines such as
/// `writes RunTask (run_task: RunTaskRequest => RunTaskResponse):`.
fn operations(table: &str) -> Vec<(&str, &str)> {
    table.lines().filter_map(operation).collect()
}

fn operation(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let line = line
        .strip_prefix("reads ")
        .or_else(|| line.strip_prefix("writes "))?;
    let (name, rest) = line.split_once(" (")?;
    let (stem, _) = rest.split_once(": ")?;
    Some((name, stem))
}

fn rows(operations: &[(&str, &str)], built: impl Fn(&str) -> bool) -> String {
    let count = operations.iter().filter(|(_, stem)| built(stem)).count();
    let mut out = format!(
        "{count} of {} operations are built.\n\n| Operation | Built |\n|---|---|\n",
        operations.len()
    );
    for (name, stem) in operations {
        let mark = if built(stem) { "yes" } else { "–" };
        out.push_str(&format!("| {name} | {mark} |\n"));
    }
    out
}

/// `page` with the part between the markers replaced; the markers are added when there are none.
fn page_with(page: &str, rows: &str) -> Result<String> {
    let fresh = format!("{START}\n\n{rows}\n{END}");
    if page.trim().is_empty() {
        return Ok(format!("{BLANK}{fresh}\n"));
    }
    let (before, rest) = page
        .split_once(START)
        .with_context(|| format!("{PAGE} has lost the line {START:?}; put it back"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("{PAGE} has lost the line {END:?}; put it back"))?;
    Ok(format!("{before}{fresh}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "operations! {\n    reads ListTasks (list_tasks: ListTasksRequest => \
                         ListTasksResponse):\n        Client Server;\n    writes RunTask (run_task: \
                         RunTaskRequest => RunTaskResponse):\n";

    #[test]
    fn the_table_is_read_and_marked() {
        let operations = operations(LINES);
        assert_eq!(
            operations,
            [("ListTasks", "list_tasks"), ("RunTask", "run_task")]
        );
        let rows = rows(&operations, |stem| stem == "run_task");
        assert!(rows.starts_with("1 of 2 operations"), "{rows}");
        assert!(
            rows.contains("| ListTasks | – |\n| RunTask | yes |\n"),
            "{rows}"
        );
    }

    #[test]
    fn what_others_wrote_on_the_page_stays() {
        let first = page_with("", "one\n").unwrap();
        let edited = format!("{first}\nA note.\n").replace("# Coverage", "# Our coverage");
        let second = page_with(&edited, "two\n").unwrap();
        assert!(
            second.contains("# Our coverage") && second.ends_with("A note.\n"),
            "{second}"
        );
        assert!(
            second.contains("two") && !second.contains("one\n"),
            "{second}"
        );
        assert!(page_with("no markers", "three").is_err());
    }
}
