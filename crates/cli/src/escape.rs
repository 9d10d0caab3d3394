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

/// A line that a container wrote: as [`line`], with its colours as they are, or without them. Nothing
/// else of what a terminal obeys is left, and no colour goes on after the line.
pub(crate) fn logged(text: &str, colour: bool) -> Cow<'_, str> {
    // A program with a terminal ends its lines with both.
    let mut rest = text.strip_suffix('\r').unwrap_or(text);
    if !rest.contains('\x1b') {
        return line(rest);
    }
    let mut safe = String::with_capacity(rest.len() + 16);
    let mut is_set = false;
    while let Some(at) = rest.find('\x1b') {
        let (before, sequence) = rest.split_at(at);
        safe.push_str(&line(before));
        let length = colour_length(sequence);
        let (sequence, after) = sequence.split_at(length.unwrap_or(1));
        match length {
            Some(_) if colour => {
                is_set = !matches!(sequence, "\x1b[m" | "\x1b[0m");
                safe.push_str(sequence);
            }
            Some(_) => {}
            None => safe.push_str(&line(sequence)),
        }
        rest = after;
    }
    safe.push_str(&line(rest));
    if is_set {
        safe.push_str("\x1b[0m");
    }
    Cow::Owned(safe)
}

/// Bytes of the sequence that begins `text` and sets colours and weight (SGR). Source: ECMA-48, 8.3.117.
fn colour_length(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\x1b[")?;
    let parameters = rest
        .bytes()
        .take_while(|b| b.is_ascii_digit() || matches!(b, b';' | b':'))
        .count();
    let ends = rest.as_bytes().get(parameters) == Some(&b'm');
    (ends && !hides(rest.get(..parameters)?)).then_some(parameters + 3)
}

/// Whether text after it is not seen, so that it could hide what else stands in the line.
fn hides(parameters: &str) -> bool {
    let mut numbers = parameters.split(';').map(|it| it.trim_start_matches('0'));
    while let Some(number) = numbers.next() {
        // The numbers of a colour mean nothing by themselves.
        let of_colour = match number {
            "38" | "48" | "58" => numbers.next(),
            "8" => return true,
            _ => None,
        };
        let skipped = match of_colour {
            Some("5") => 1,
            Some("2") => 3,
            _ => 0,
        };
        numbers.by_ref().take(skipped).for_each(drop);
    }
    false
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
    fn of_logs_the_colours_pass() {
        for (given, coloured, plain) in [
            ("plain\r", "plain", "plain"),
            ("a\rb", "a\\rb", "a\\rb"),
            ("\x1b[31mred\x1b[0m!", "\x1b[31mred\x1b[0m!", "red!"),
            ("\x1b[1;38;5;9mred", "\x1b[1;38;5;9mred\x1b[0m", "red"),
            ("\x1b[m\x1b[4:3mx\x1b[m", "\x1b[m\x1b[4:3mx\x1b[m", "x"),
            ("\x1b[2Jgone", "\\x1b[2Jgone", "\\x1b[2Jgone"),
            ("\x1b]0;t\x07", "\\x1b]0;t\\x07", "\\x1b]0;t\\x07"),
            ("\x1b[38;5;8mgrey\x1b[m", "\x1b[38;5;8mgrey\x1b[m", "grey"),
            (
                "\x1b[38;5;8;8mhid",
                "\\x1b[38;5;8;8mhid",
                "\\x1b[38;5;8;8mhid",
            ),
            ("\x1b[8mhid", "\\x1b[8mhid", "\\x1b[8mhid"),
            ("\x1b[31", "\\x1b[31", "\\x1b[31"),
            ("\x1b", "\\x1b", "\\x1b"),
        ] {
            assert_eq!(logged(given, true), coloured, "{given:?}");
            assert_eq!(logged(given, false), plain, "{given:?}");
        }
    }

    #[test]
    fn no_control_byte_passes() {
        let all: String = (0..=0x20ff).filter_map(char::from_u32).collect();
        assert!(!cell(&all).chars().any(char::is_control));
        assert!(matches!(cell("x"), Cow::Borrowed("x")));
    }
}
