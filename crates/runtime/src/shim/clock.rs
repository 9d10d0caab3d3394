//! The shim's two clocks: the calendar for reports and logs, and a steady one for timeouts.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let (seconds, nanoseconds) = wall();
    seconds
        .saturating_mul(1000)
        .saturating_add(u64::from(nanoseconds) / 1_000_000)
}

/// Seconds since 1970 and nanoseconds.
pub(crate) fn wall() -> (u64, u32) {
    let now = clock_gettime(ClockId::Realtime);
    (
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// Milliseconds of a clock that nobody sets.
pub(crate) fn steady_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1000)
        .saturating_add(nanoseconds / 1_000_000)
}

/// `2026-01-31T23:59:59.000000001Z`: RFC 3339, always nine digits, so that records line up and sort.
pub(crate) fn write_rfc3339(out: &mut Vec<u8>, (seconds, nanoseconds): (u64, u32)) {
    let (year, month, day) = civil(seconds / 86_400);
    let second = seconds % 86_400;
    let text = format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{nanoseconds:09}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    out.extend_from_slice(text.as_bytes());
}

/// The Gregorian date of a day since 1970-01-01. Years are counted from March, so that the leap day
/// is the last of its year.
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000005Z"),
            (951_782_399, "2000-02-28T23:59:59.000000005Z"),
            (951_782_400, "2000-02-29T00:00:00.000000005Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000005Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000000005Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000000005Z"),
        ] {
            let mut out = Vec::new();
            write_rfc3339(&mut out, (seconds, 5));
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
