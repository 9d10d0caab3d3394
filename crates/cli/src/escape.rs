//! Text of servers, images and containers, made safe to show: a control byte could rewrite what a
//! terminal shows above it, or answer for the user.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` without anything that moves a cursor, changes a colour or turns the direction of writing.
/// Line ends count as such: what is shown in a cell stays in it.
pub(crate) fn cell(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// As [`cell`], with tabs left in: for lines of logs.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t')
}

/// As [`line`], with line ends left in: for messages.
pub(crate) fn block(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t' || c == '\n')
}

fn escaped(text: &str, keep: fn(char) -> bool) -> Cow<'_, str> {
    let harmful = |c: char| is_harmful(c) && !keep(c);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !harmful(c) => safe.push(c),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if c.is_ascii() => {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\x{:02x}", u32::from(c));
            }
            c => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    Cow::Owned(safe)
}

/// Controls (C0, DEL, C1), line separators, and the marks that turn the direction of writing.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{061c}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_are_shown_and_not_done() {
        let table = [
            ("plain ü 日本", "plain ü 日本"),
            ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\x7f"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
        ];
        for (given, shown) in table {
            assert_eq!(cell(given), shown);
        }
        assert_eq!(line("a\tb\n"), "a\tb\\n");
        assert_eq!(block("a\n\x07"), "a\n\\x07");
    }

    #[test]
    fn no_control_byte_passes() {
        let all: String = (0..=0x20ff).filter_map(char::from_u32).collect();
        assert!(!cell(&all).chars().any(char::is_control));
        assert!(matches!(cell("x"), Cow::Borrowed("x")));
    }
}
