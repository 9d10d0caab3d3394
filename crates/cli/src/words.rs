//! Amounts, times and identifiers in the words that people read.

use std::collections::BTreeSet;

/// A moment, in milliseconds since the epoch, as RFC 3339 in UTC.
pub(crate) fn rfc3339(millis: i64) -> String {
    // Every moment that the wire can carry and jiff cannot lies beyond the year 9999.
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| format!("{millis} ms"), |t| t.to_string())
}

/// How long, in at most two units: `350ms`, `4s`, `3m 20s`, `2h 5m`, `12d 3h`.
pub(crate) fn duration(millis: i64) -> String {
    let millis = millis.max(0);
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let seconds = millis / 1_000;
    let two = |high: i64, high_unit: &str, low: i64, low_unit: &str| match low {
        0 => format!("{high}{high_unit}"),
        _ => format!("{high}{high_unit} {low}{low_unit}"),
    };
    match seconds {
        0..10 if millis % 1_000 >= 100 => format!("{seconds}.{}s", millis % 1_000 / 100),
        0..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// How long ago, in one unit.
pub(crate) fn age(millis: i64) -> String {
    let seconds = millis.max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Bytes in binary units, with one digit below ten.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut amount = bytes as f64;
    let mut name = "B";
    for unit in UNITS {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        name = unit;
    }
    match name == "B" || amount >= 10.0 {
        true => format!("{amount:.0} {name}"),
        false => format!("{amount:.1} {name}"),
    }
}

/// What follows the last `/` of an ARN, or of a name.
pub(crate) fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// The first digits of `id` that tell it from the others, at least `digits` of them.
pub(crate) fn short(id: &str, among: &BTreeSet<&str>, digits: usize) -> String {
    let is_unique = |prefix: &str| {
        among
            .iter()
            .filter(|other| other.starts_with(prefix))
            .count()
            <= 1
    };
    let prefixes = (digits..=id.len()).filter_map(|length| id.get(..length));
    prefixes
        .into_iter()
        .find(|prefix| is_unique(prefix))
        .unwrap_or(id)
        .to_owned()
}

/// What an exit code says beyond its number. Codes above 128 are of signals by the shell's
/// convention, which the runtime follows.
pub(crate) fn exit_code(code: i32) -> String {
    let meaning = match code {
        0 => "success",
        126 => "the command is there but cannot be executed",
        127 => "the command was not found",
        _ => {
            return code.checked_sub(128).and_then(signal).map_or_else(
                || code.to_string(),
                |name| format!("{code} (killed by {name})"),
            );
        }
    };
    format!("{code} ({meaning})")
}

/// The name of a signal on Linux. Source: signal(7), x86 and most others.
pub(crate) fn signal(number: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    NAMES
        .get(usize::try_from(number).ok()?.checked_sub(1)?)
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        for (millis, text) in [
            (-5, "0ms"),
            (350, "350ms"),
            (1_050, "1s"),
            (4_320, "4.3s"),
            (59_999, "59s"),
            (200_000, "3m 20s"),
            (7_500_000, "2h 5m"),
            (86_400_000, "1d"),
            (i64::MAX, "106751991167d 7h"),
        ] {
            assert_eq!(duration(millis), text);
        }
        for (millis, text) in [
            (0, "0s"),
            (119_000, "119s"),
            (120_000, "2m"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(age(millis), text);
        }
        for (amount, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (64 << 20, "64 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn exit_codes_are_decoded() {
        for (code, text) in [
            (0, "0 (success)"),
            (1, "1"),
            (127, "127 (the command was not found)"),
            (128, "128"),
            (137, "137 (killed by SIGKILL)"),
            (143, "143 (killed by SIGTERM)"),
            (160, "160"),
            (i32::MIN, "-2147483648"),
        ] {
            assert_eq!(exit_code(code), text);
        }
    }

    #[test]
    fn short_ids_are_unique_among_the_shown() {
        let ids = BTreeSet::from(["aabbcc00", "aabbcc11", "ff000000"]);
        assert_eq!(short("aabbcc11", &ids, 4), "aabbcc1");
        assert_eq!(short("ff000000", &ids, 4), "ff00");
        assert_eq!(short("é", &ids, 1), "é");
    }
}
