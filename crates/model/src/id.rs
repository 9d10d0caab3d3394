//! One id type per noun, so that a task's id cannot be passed where a node's is meant.

use minicbor::{Decode, Encode};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Millis(#[n(0)] pub i64);

impl Millis {
    pub fn plus_ms(self, ms: i64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; negative when the order is the other way round.
    pub fn since(self, earlier: Millis) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The text is not an id of the expected shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {given:?}")]
pub struct IdError {
    pub expected: &'static str,
    pub given: String,
}

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $show:ident, $read:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $show(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                $read(text).map($name).ok_or_else(|| IdError {
                    expected: $expected,
                    given: text.chars().take(64).collect(),
                })
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0.to_be_bytes())?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?;
                let bytes: [u8; 16] = bytes
                    .try_into()
                    .map_err(|_| minicbor::decode::Error::message("an id has 16 bytes"))?;
                Ok($name(u128::from_be_bytes(bytes)))
            }
        }
    };
}

id128!(
    /// A task: 32 lower-case hexadecimal digits, random from the first on, so that a few of them tell
    /// it from the others.
    TaskId, "32 hexadecimal digits", show_hex, read_hex
);
id128!(
    /// A container instance: one node's membership in one cluster.
    InstanceId, "32 hexadecimal digits", show_hex, read_hex
);
id128!(
    /// A machine that runs an agent. It may be a container instance in several clusters.
    NodeId, "32 hexadecimal digits", show_hex, read_hex
);
id128!(
    /// A container of a task, as in its ARN: a UUID.
    ContainerId, "a UUID", show_uuid, read_uuid
);
id128!(
    /// An attachment of a task (its network interface): a UUID.
    AttachmentId, "a UUID", show_uuid, read_uuid
);
id128!(
    /// One boot of a node's kernel, as in /proc/sys/kernel/random/boot_id.
    BootId, "a UUID", show_uuid, read_uuid
);

fn show_hex(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{value:032x}")
}

fn read_hex(text: &str) -> Option<u128> {
    let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    digits
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

fn show_uuid(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let h = format!("{value:032x}");
    write!(
        f,
        "{}-{}-{}-{}-{}",
        &h[..8],
        &h[8..12],
        &h[12..16],
        &h[16..20],
        &h[20..]
    )
}

/// With dashes as usual; the 32 digits alone are accepted too.
fn read_uuid(text: &str) -> Option<u128> {
    if text.len() == 36 {
        let dashes = [8, 13, 18, 23]
            .iter()
            .all(|at| text.as_bytes()[*at] == b'-');
        let digits: String = text.split('-').collect();
        return dashes.then(|| read_hex(&digits)).flatten();
    }
    read_hex(text)
}

impl TaskId {
    /// Digits that people are shown. No two known tasks begin with the same.
    pub const SHORT_DIGITS: u32 = 8;

    /// The first and the last id that begin as this one, by [`TaskId::SHORT_DIGITS`].
    pub fn alike(self) -> RangeInclusive<TaskId> {
        let rest = u128::MAX >> (4 * Self::SHORT_DIGITS);
        TaskId(self.0 & !rest)..=TaskId(self.0 | rest)
    }
}

/// A name of a cluster, family, container, volume: 1 to 255 of `[A-Za-z0-9_-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Name(#[n(0)] String);

impl Name {
    pub const LENGTH_MAX: usize = 255;

    pub fn new(text: &str) -> Result<Name, IdError> {
        let good = (1..=Self::LENGTH_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if good {
            return Ok(Name(text.to_owned()));
        }
        Err(IdError {
            expected: "1 to 255 letters, digits, hyphens and underscores",
            given: text.chars().take(64).collect(),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_show() {
        let task = TaskId(0x3f2a_0000_0000_0000_0000_0000_0000_00aa);
        assert_eq!(task.to_string().parse::<TaskId>(), Ok(task));
        let container = ContainerId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(
            container.to_string(),
            "01234567-89ab-cdef-0123-456789abcdef"
        );
        assert_eq!(container.to_string().parse::<ContainerId>(), Ok(container));
        for bad in [
            "",
            "xyz",
            "0123456789ABCDEF0123456789ABCDEF",
            "é",
            "+0000000000000000000000000000001",
        ] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tasks_are_alike_by_their_first_digits() {
        let task: TaskId = format!("{}{}", "3f2a0001", "7".repeat(24)).parse().unwrap();
        let alike = task.alike();
        assert_eq!(
            alike.start().to_string(),
            format!("3f2a0001{}", "0".repeat(24))
        );
        assert_eq!(
            alike.end().to_string(),
            format!("3f2a0001{}", "f".repeat(24))
        );
    }

    #[test]
    fn names_hold_letters_digits_hyphens_underscores() {
        assert!(Name::new("web-1_A").is_ok());
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(256)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }
}
