//! Aligned columns without lines: the same on a terminal and in a pipe, so that what a person saw a
//! script can cut; but for what a narrow terminal has no room for.

use crate::escape;
use comfy_table::{Cell, Color, Table as Grid, presets};
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Spaces between columns.
const GAP: u16 = 2;

/// What a cell keeps in the narrowest terminal: the first digits of an id.
const CELL_MIN: usize = 8;

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

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| match cell.is_empty() {
            true => NOTHING.to_owned(),
            false => escape::cell(&cell).into_owned(),
        });
        self.rows.push(cells.collect());
    }

    /// The lines, without spaces at their ends, as wide as they are.
    pub(crate) fn render(&self, colour: bool) -> Vec<String> {
        self.render_within(colour, None)
    }

    /// The lines, without spaces at their ends. Where they would be wider than `columns`, the widest
    /// cells are cut, which `…` shows.
    pub(crate) fn render_within(&self, colour: bool, columns: Option<usize>) -> Vec<String> {
        let widths = self.widths(columns);
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
            let cells = row.iter().zip(&widths);
            grid.add_row(cells.map(|(text, width)| coloured(&cut(text, *width))));
        }
        for column in grid.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        grid.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// The columns' widths: what their cells need, the widest less where all would not fit.
    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let needed = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let heading = self.headings.get(at).map_or(0, |text| text.width());
            cells
                .map(|text| text.width())
                .max()
                .unwrap_or(0)
                .max(heading)
        };
        let mut widths: Vec<usize> = (0..self.headings.len()).map(needed).collect();
        let gaps = widths.len().saturating_sub(1) * usize::from(GAP);
        let Some(room) = columns.map(|columns| columns.saturating_sub(gaps)) else {
            return widths;
        };
        let least = |at: usize| {
            let heading = self.headings.get(at).map_or(0, |text| text.width());
            heading.max(CELL_MIN)
        };
        while widths.iter().sum::<usize>() > room {
            let shrinkable = widths.iter().enumerate();
            let shrinkable = shrinkable.filter(|(at, width)| **width > least(*at));
            let Some(at) = shrinkable
                .max_by_key(|(_, width)| **width)
                .map(|(at, _)| at)
            else {
                return widths;
            };
            if let Some(width) = widths.get_mut(at) {
                *width -= 1;
            }
        }
        widths
    }
}

/// The beginning of a text that is wider than its column.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut room = width.saturating_sub(1);
    let mut short = String::new();
    for c in text.chars() {
        let Some(left) = room.checked_sub(c.width().unwrap_or(0)) else {
            break;
        };
        room = left;
        short.push(c);
    }
    short.push('…');
    Cow::Owned(short)
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
    fn what_a_terminal_has_no_room_for_is_cut() {
        let mut table = Table::new(&["TASK", "REASON", "IMAGES"]);
        table.push([
            "3f2a0000".into(),
            "Essential container in task exited".into(),
            "日本日本日本".into(),
        ]);
        let whole = table.render(false);
        assert_eq!(table.render_within(false, Some(200)), whole);
        assert_eq!(
            table.render_within(false, Some(44)),
            [
                "TASK      REASON                IMAGES",
                "3f2a0000  Essential container…  日本日本日本"
            ],
        );
        // Nothing is cut below what its heading needs.
        assert_eq!(
            table.render_within(false, Some(5)),
            ["TASK      REASON    IMAGES", "3f2a0000  Essenti…  日本日…"],
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
