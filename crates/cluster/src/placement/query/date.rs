//! Dates of the query language: `2018-06-18`, `2018-06-18T22:28:28`, with `Z` or an offset.

use windlass_model::id::Millis;

/// `None` when the text is no date. Without an offset it is UTC.
pub(super) fn parse(text: &str) -> Option<Millis> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = number(parts.next()?, 4)?;
    let month = number(parts.next()?, 2)?;
    let day = number(parts.next()?, 2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = time.map_or(Some(0), time_of_day)?;
    Some(Millis((days(year, month, day) * 86_400 + seconds) * 1000))
}

/// Seconds of `hh:mm:ss`, a fraction ignored, less its offset.
fn time_of_day(text: &str) -> Option<i64> {
    let end = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(end);
    let clock = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let mut parts = clock.splitn(3, ':');
    let hour = number(parts.next()?, 2)?;
    let minute = number(parts.next()?, 2)?;
    let second = number(parts.next()?, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let sign = match zone.get(..1) {
        None | Some("Z") if zone.len() <= 1 => 0,
        Some("+") => 1,
        Some("-") => -1,
        _ => return None,
    };
    let offset = if sign == 0 {
        0
    } else {
        let (hours, minutes) = zone.get(1..)?.split_once(':')?;
        number(hours, 2)? * 3600 + number(minutes, 2)? * 60
    };
    Some(hour * 3600 + minute * 60 + second - sign * offset)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let good = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so
/// that the leap day is a year's last and every month's start follows from one formula.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn dates_are_read() {
        for (text, seconds) in [
            ("1970-01-01", Some(0)),
            ("2018-06-18", Some(1_529_280_000)),
            ("2018-06-18T22:28:28", Some(1_529_360_908)),
            ("2018-06-18T22:28:28Z", Some(1_529_360_908)),
            ("2018-06-18T22:28:28+00:00", Some(1_529_360_908)),
            ("2018-06-18T22:28:28.123+01:00", Some(1_529_357_308)),
            ("2000-02-29", Some(951_782_400)),
            ("2018-13-18", None),
            ("2018-6-18", None),
            ("2018-06-18T22:28", None),
            ("2018-06-18T22:28:28X", None),
            ("2018-06-18T22:28:28+é", None),
            ("", None),
        ] {
            assert_eq!(parse(text).map(|at| at.0 / 1000), seconds, "{text}");
        }
    }
}
