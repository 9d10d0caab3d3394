//! Moments on the wire: JSON numbers of seconds since the epoch, with milliseconds as the fraction.
//!
//! Kept as whole milliseconds inside, so that equal moments compare equal.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// The furthest moment, either way, that survives as a JSON number: beyond it a double no longer
/// holds every millisecond. About 285,000 years.
const MILLIS_MAX: f64 = 9_007_199_254_740_992.0;

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0 as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since the epoch")
            }
            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Timestamp, E> {
                self.visit_f64(seconds as f64)
            }
            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Timestamp, E> {
                self.visit_f64(seconds as f64)
            }
            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Timestamp, E> {
                Timestamp::from_seconds(seconds)
                    .ok_or_else(|| E::custom(format!("{seconds} seconds are out of range")))
            }
        }
        from.deserialize_f64(Seconds)
    }
}

impl Timestamp {
    /// The moment `seconds` after the epoch, to the nearest millisecond. Nothing when no exact
    /// millisecond is meant any more.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        let millis = (seconds * 1000.0).round();
        (millis.abs() < MILLIS_MAX).then_some(Self(millis as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive_the_wire() {
        for millis in [0, 1, 999, 1_557_119_253_821, 1_557_119_253_000, -1, -1_500] {
            let json = serde_json::to_string(&Timestamp(millis)).unwrap();
            assert_eq!(
                serde_json::from_str::<Timestamp>(&json).unwrap(),
                Timestamp(millis)
            );
        }
        assert_eq!(
            serde_json::to_string(&Timestamp(1_557_119_253_821)).unwrap(),
            "1557119253.821"
        );
        assert_eq!(
            serde_json::from_str::<Timestamp>("12").unwrap(),
            Timestamp(12_000)
        );
    }

    #[test]
    fn moments_out_of_range_are_refused() {
        for json in [
            "1e300",
            "-1e300",
            "9223372036854775807",
            "\"2026-01-01\"",
            "true",
        ] {
            assert!(serde_json::from_str::<Timestamp>(json).is_err(), "{json}");
        }
    }
}
