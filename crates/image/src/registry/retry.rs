//! How often, and how soon after each other, a registry is asked again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::limits::RETRY_AFTER_MAX;

/// Tries with growing pauses. Source: ECS agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) tries: u32,
    first: Duration,
    factor: u32,
    longest: Duration,
}

/// Of a manifest: 10 ms, three times as long each time, at most 5 s.
pub(crate) const MANIFEST: Schedule = Schedule {
    tries: 9,
    first: Duration::from_millis(10),
    factor: 3,
    longest: Duration::from_secs(5),
};

/// Of what a manifest lists: 1.1 s, twice as long each time, at most 5 s.
pub(crate) const CONTENT: Schedule = Schedule {
    tries: 5,
    first: Duration::from_millis(1_100),
    factor: 2,
    longest: Duration::from_secs(5),
};

/// Where somebody waits who has something else to go on with.
pub(crate) const QUICK: Schedule = Schedule {
    tries: 4,
    ..MANIFEST
};

/// Why a try may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It may pass by itself.
    Soon,
    /// The registry said when.
    After(Duration),
}

impl Schedule {
    /// The pause before the next try, or none when there is no further one. `tried` counts those
    /// that failed. `luck` is between 0 and 1: many that fail together do not come back together.
    pub(crate) fn pause(&self, tried: u32, again: Again, luck: f64) -> Option<Duration> {
        if tried >= self.tries {
            return None;
        }
        let factor = self.factor.saturating_pow(tried.saturating_sub(1));
        let pause = self.first.saturating_mul(factor).min(self.longest);
        let pause = pause.mul_f64(1.0 + JITTER * luck.clamp(0.0, 1.0));
        match again {
            Again::Soon => Some(pause),
            Again::After(wanted) if wanted > RETRY_AFTER_MAX => None,
            Again::After(wanted) => Some(pause.max(wanted)),
        }
    }
}

const JITTER: f64 = 0.2;

/// Different at each call.
pub(crate) fn luck() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    f64::from(now.map_or(0, |now| now.subsec_nanos()) % 1_000) / 1_000.0
}

/// What `Retry-After` says: seconds. The other form, a date, is of another clock.
pub(crate) fn retry_after(value: Option<&str>) -> Again {
    let seconds = value.and_then(|text| text.trim().parse::<u64>().ok());
    seconds.map_or(Again::Soon, |seconds| {
        Again::After(Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_schedules() {
        let pauses = |schedule: Schedule| -> Vec<u128> {
            (1..20)
                .map_while(|tried| schedule.pause(tried, Again::Soon, 0.0))
                .map(|pause| pause.as_millis())
                .collect()
        };
        assert_eq!(
            pauses(MANIFEST),
            [10, 30, 90, 270, 810, 2_430, 5_000, 5_000]
        );
        assert_eq!(pauses(CONTENT), [1_100, 2_200, 4_400, 5_000]);
        assert_eq!(pauses(QUICK), [10, 30, 90]);
    }

    #[test]
    fn what_the_registry_asks_for_is_honoured_within_bounds() {
        let pause = |value| MANIFEST.pause(1, retry_after(value), 0.0);
        assert_eq!(pause(Some("3")), Some(Duration::from_secs(3)));
        assert_eq!(pause(Some("0")), Some(Duration::from_millis(10)));
        assert_eq!(pause(Some("3600")), None);
        for unknown in [
            None,
            Some("Wed, 21 Oct 2026 07:28:00 GMT"),
            Some("-1"),
            Some(""),
        ] {
            assert_eq!(
                pause(unknown),
                Some(Duration::from_millis(10)),
                "{unknown:?}"
            );
        }
        assert!(MANIFEST.pause(1, Again::Soon, 1.0) > MANIFEST.pause(1, Again::Soon, 0.0));
    }
}
