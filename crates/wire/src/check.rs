//! What the model forbids of a value, and the sentence that says so.
//!
//! The constraints are those of the API model alone: required members, sizes, ranges, enums,
//! alphabets, unions. What ECS checks beyond its model lies with each operation.

use std::borrow::Cow;
use std::fmt;

use crate::error::{ApiError, ErrorCode};
use crate::shape::{Limits, Text};

/// One broken constraint.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Where, e.g. `containerDefinitions[0].name`.
    pub path: String,
    pub constraint: Constraint,
    /// The offending value where it is short text or a number.
    pub value: Option<String>,
}

/// The constraint that is broken.
#[derive(Clone, Debug, PartialEq)]
pub enum Constraint {
    Required,
    SizeAtLeast(u32),
    SizeAtMost(u32),
    ValueAtLeast(f64),
    ValueAtMost(f64),
    OneOf(&'static [&'static str]),
    Text(Text),
    /// Exactly one member of a union is set.
    OneMember,
}

/// More characters of an offending value than this are cut: an error names a value, it does not
/// send it back.
const VALUE_CHARS_MAX: usize = 128;

/// The error for a request with these violations; nothing when there are none. `code` is
/// `InvalidParameter` but for RegisterTaskDefinition, which answers `Client`.
pub fn refuse(violations: &[Violation], code: ErrorCode) -> Result<(), ApiError> {
    if violations.is_empty() {
        return Ok(());
    }
    let plural = if violations.len() == 1 { "" } else { "s" };
    let list: Vec<String> = violations.iter().map(Violation::to_string).collect();
    let count = violations.len();
    let list = list.join("; ");
    Err(ApiError::new(
        code,
        format!("{count} validation error{plural} detected: {list}"),
    ))
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "Value '{value}'")?,
            None if self.constraint == Constraint::Required => f.write_str("Value null")?,
            None => f.write_str("Value")?,
        }
        write!(
            f,
            " at '{}' failed to satisfy constraint: {}",
            self.path, self.constraint
        )
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required => f.write_str("Member must not be null"),
            Self::SizeAtLeast(n) => {
                write!(f, "Member must have length greater than or equal to {n}")
            }
            Self::SizeAtMost(n) => write!(f, "Member must have length less than or equal to {n}"),
            Self::ValueAtLeast(n) => {
                write!(f, "Member must have value greater than or equal to {n}")
            }
            Self::ValueAtMost(n) => write!(f, "Member must have value less than or equal to {n}"),
            Self::OneOf(values) => {
                write!(
                    f,
                    "Member must satisfy enum value set: [{}]",
                    values.join(", ")
                )
            }
            Self::Text(text) => {
                write!(
                    f,
                    "Member must satisfy regular expression pattern: {}",
                    text.pattern()
                )
            }
            Self::OneMember => f.write_str("Exactly one member must be set"),
        }
    }
}

impl Text {
    /// The model's pattern.
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Tag => r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)",
            Self::InstanceType => r"[a-zA-Z0-9\.\*\-]+",
        }
    }

    /// Whether every character of `value` is allowed. Letters and numbers are Unicode's as Rust's
    /// standard library has them, which takes a few combining marks for letters.
    pub fn allows(self, value: &str) -> bool {
        let allowed = |letter: char| match self {
            Self::Tag => letter.is_alphanumeric() || letter == ' ' || "_.:/=+-@".contains(letter),
            Self::InstanceType => letter.is_ascii_alphanumeric() || ".*-".contains(letter),
        };
        // `\p{Z}` holds the spaces that are no control characters.
        let spaced =
            |letter: char| self == Self::Tag && letter.is_whitespace() && !letter.is_control();
        value
            .chars()
            .all(|letter| allowed(letter) || spaced(letter))
    }
}

impl Limits {
    /// The broken limit of a string.
    pub(crate) fn of_text(&self, value: &str) -> Option<Constraint> {
        let broken = self.of_size(value.chars().count());
        broken.or_else(|| {
            self.text
                .filter(|text| !text.allows(value))
                .map(Constraint::Text)
        })
    }

    /// The broken limit of something that has `size` elements or characters.
    pub(crate) fn of_size(&self, size: usize) -> Option<Constraint> {
        let (low, high) = self.size?;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        if size < low {
            return Some(Constraint::SizeAtLeast(low));
        }
        (size > high).then_some(Constraint::SizeAtMost(high))
    }

    /// The broken limit of a number.
    pub(crate) fn of_number(&self, value: f64) -> Option<Constraint> {
        let (low, high) = self.range?;
        if value < low {
            return Some(Constraint::ValueAtLeast(low));
        }
        (value > high).then_some(Constraint::ValueAtMost(high))
    }
}

/// `value` as it may stand in a sentence.
pub fn quoted(value: &str) -> Cow<'_, str> {
    // As many bytes hold no more characters, and counting those is slower.
    if value.len() <= VALUE_CHARS_MAX {
        return Cow::Borrowed(value);
    }
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", value.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabets_follow_the_model() {
        let tags = [
            ("team:öl/1 @x", true),
            ("a\u{a0}b", true),
            ("a\tb", false),
            ("a,b", false),
        ];
        for (value, allowed) in tags {
            assert_eq!(Text::Tag.allows(value), allowed, "{value:?}");
        }
        assert!(Text::InstanceType.allows("m5.*"));
        assert!(!Text::InstanceType.allows("m5 large"));
    }

    #[test]
    fn a_refusal_counts_and_names() {
        assert_eq!(refuse(&[], ErrorCode::Client), Ok(()));
        let violation = |path: &str| Violation {
            path: path.to_owned(),
            constraint: Constraint::Required,
            value: None,
        };
        let one = refuse(&[violation("family")], ErrorCode::Client).unwrap_err();
        assert_eq!(
            one.message,
            "1 validation error detected: Value null at 'family' failed to satisfy constraint: \
             Member must not be null"
        );
        let two = refuse(&[violation("a"), violation("b")], ErrorCode::Client).unwrap_err();
        assert!(
            two.message.starts_with("2 validation errors detected: "),
            "{two}"
        );
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(quoted("short"), "short");
        let long = "ä".repeat(VALUE_CHARS_MAX + 1);
        let cut = quoted(&long);
        assert_eq!(cut.chars().count(), VALUE_CHARS_MAX + 1);
    }
}
