//! Aligned columns without lines: the same on a terminal and in a pipe, so that what a person saw a
//! script can cut.

use crate::escape;
use comfy_table::{Cell, Color, Table as Grid, presets};

/// Rows under headings. Cells hold text of others and are escaped.
pub(crate) struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// What stands where a cell has nothing, so that every row has the same number of words.
pub(crate) const NOTHING: &str = "-";

impl Table {
    pub(crate) fn new(headings: &'static [&'static str]) -> Table {
        Table {
            headings,
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| match cell.is_empty() {
            true => NOTHING.to_owned(),
            false => escape::cell(&cell).into_owned(),
        });
        self.rows.push(cells.collect());
    }

    /// The lines, without spaces at their ends.
    pub(crate) fn render(&self, colour: bool) -> Vec<String> {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        if colour {
            grid.enforce_styling();
            grid.style_text_only();
        } else {
            grid.force_no_tty();
        }
        grid.set_header(self.headings.iter().map(Cell::new));
        for row in &self.rows {
            grid.add_row(row.iter().map(|text| coloured(text)));
        }
        for column in grid.column_iter_mut() {
            column.set_padding((0, 2));
        }
        grid.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }
}

/// Colour repeats what the word says already.
fn coloured(text: &str) -> Cell {
    let cell = Cell::new(text);
    match text {
        "RUNNING" | "HEALTHY" | "ACTIVE" | "yes" => cell.fg(Color::Green),
        "UNHEALTHY" | "no" => cell.fg(Color::Red),
        "STOPPED" | "INACTIVE" => cell.fg(Color::DarkGrey),
        "PROVISIONING" | "PENDING" | "ACTIVATING" | "DEACTIVATING" | "STOPPING"
        | "DEPROVISIONING" => cell.fg(Color::Yellow),
        _ => cell,
    }
}

/// `name: value` lines, aligned. Values hold text of others and are escaped.
pub(crate) fn fields(indent: usize, fields: &[(&str, String)]) -> Vec<String> {
    let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        format!(
            "{:indent$}{:width$}  {}",
            "",
            format!("{name}"),
            escape::cell(value)
        )
    };
    shown().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATUS", "NOTE"]);
        table.push(["日本".into(), "RUNNING".into(), "a\x1bb".into()]);
        table.push(["longer-name".into(), String::new(), "x".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_escaped() {
        assert_eq!(
            table().render(false),
            [
                "NAME         STATUS   NOTE",
                "日本         RUNNING  a\\x1bb",
                "longer-name  -        x",
            ]
        );
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let lines = table().render(true);
        assert!(
            lines[1].contains("\x1b[38;5;10mRUNNING\x1b[39m"),
            "{:?}",
            lines[1]
        );
    }

    #[test]
    fn fields_leave_out_what_is_not_known() {
        let given = [
            ("status", "RUNNING".to_owned()),
            ("stopped", String::new()),
            ("x", "\n".into()),
        ];
        assert_eq!(fields(2, &given), ["  status  RUNNING", "  x       \\n"]);
    }
}
