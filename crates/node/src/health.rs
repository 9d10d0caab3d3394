//! The health check of one container.
//!
//! ```text
//!              success                    `retries` failures in a row
//!  UNKNOWN ───────────────► HEALTHY ◄──────────────────────────► UNHEALTHY
//!     └───────── `retries` failures in a row ─────────────────────►
//! ```
//! Failures within the start period do not count; a success does at once, and ends the period.
//! Source: ECS API, `HealthCheck`; Docker's order of probes: the first comes one interval after
//! the start, the next one interval after the last ended. Within the start period, while nothing is
//! known yet, that interval is [`START_INTERVAL_MS`], as in Docker 26.1.5 and later.

use crate::limits::START_INTERVAL_MS;
use minicbor::{Decode, Encode};
use windlass_model::container::HealthCheck;
use windlass_model::id::Millis;
use windlass_model::status::Health;

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct HealthState {
    /// `None` is UNKNOWN.
    #[n(0)]
    status: Option<Health>,
    #[n(1)]
    failures_in_a_row: u32,
    /// When the last probe ended, of this run.
    #[n(2)]
    probed_at: Option<Millis>,
    #[n(3)]
    pub probing: bool,
    #[n(4)]
    pub output: Option<String>,
}

impl HealthState {
    pub fn status(&self) -> Health {
        self.status.unwrap_or(Health::Unknown)
    }

    /// When the next probe is due; `None` while one is under way or none is wanted.
    pub fn due(&self, check: Option<&HealthCheck>, run_started_at: Millis) -> Option<Millis> {
        let check = check.filter(|check| is_wanted(check))?;
        if self.probing {
            return None;
        }
        let from = self.probed_at.unwrap_or(run_started_at);
        let pause = if self.is_starting(check, run_started_at, from) {
            START_INTERVAL_MS
        } else {
            i64::from(check.interval_s) * 1_000
        };
        Some(from.plus_ms(pause))
    }

    /// Nothing is known yet, and the start period still ran at `at`.
    fn is_starting(&self, check: &HealthCheck, run_started_at: Millis, at: Millis) -> bool {
        let start_period_ms = i64::from(check.start_period_s.unwrap_or(0)) * 1_000;
        self.status.is_none() && at.since(run_started_at) < start_period_ms
    }

    /// Counts the result of a probe that ended at `now`.
    pub fn count(
        &mut self,
        check: &HealthCheck,
        run_started_at: Millis,
        success: bool,
        output: String,
        now: Millis,
    ) {
        self.probing = false;
        self.probed_at = Some(now);
        self.output = Some(output);
        if success {
            self.failures_in_a_row = 0;
            self.status = Some(Health::Healthy);
            return;
        }
        if self.is_starting(check, run_started_at, now) {
            return;
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if self.failures_in_a_row >= check.retries.max(1) {
            self.status = Some(Health::Unhealthy);
        }
    }

    /// A new run of the container knows nothing of the last one's health.
    pub fn restart(&mut self) {
        *self = HealthState::default();
    }

    /// The container ended: its last status stays to be shown.
    pub fn forget_probe(&mut self) {
        self.probing = false;
    }
}

/// `["NONE"]` switches a check off.
pub fn is_wanted(check: &HealthCheck) -> bool {
    !check.command.is_empty() && check.command.first().is_none_or(|word| word != "NONE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(retries: u32, start_period_s: Option<u32>) -> HealthCheck {
        HealthCheck {
            command: vec!["CMD".into(), "true".into()],
            interval_s: 10,
            timeout_s: 5,
            retries,
            start_period_s,
        }
    }

    /// One letter a probe: `s`uccess or `f`ailure; the answer is each one's second and the status
    /// after it.
    fn run(check: &HealthCheck, probes: &str) -> (Vec<i64>, String) {
        let mut state = HealthState::default();
        let mut seconds = Vec::new();
        let mut shown = String::new();
        for probe in probes.chars() {
            let now = state.due(Some(check), Millis(0)).unwrap();
            seconds.push(now.0 / 1_000);
            state.count(check, Millis(0), probe == 's', String::new(), now);
            shown.push_str(match state.status() {
                Health::Unknown => "?",
                Health::Healthy => "H",
                Health::Unhealthy => "U",
            });
        }
        (seconds, shown)
    }

    #[test]
    fn statuses_follow_the_probes() {
        for (retries, start_period, probes, shown) in [
            (3, None, "ffff", "??UU"),
            (3, None, "sffs", "HHHH"),
            (3, None, "sfffs", "HHHUH"),
            (2, Some(18), "fffff", "????U"),
            // A success within the start period ends it: later failures count.
            (1, Some(300), "sf", "HU"),
            (1, Some(15), "fs", "?H"),
        ] {
            let (_, statuses) = run(&check(retries, start_period), probes);
            assert_eq!(statuses, shown, "{probes}");
        }
    }

    #[test]
    fn probes_come_sooner_until_something_is_known() {
        for (start_period, probes, seconds) in [
            (None, "ffs", vec![10, 20, 30]),
            (Some(0), "ff", vec![10, 20]),
            // A container that is up early is known to be so early.
            (Some(300), "ffsff", vec![5, 10, 15, 25, 35]),
            // The start period ends between two probes.
            (Some(12), "fffff", vec![5, 10, 15, 25, 35]),
            // At its very end it is over.
            (Some(10), "ffff", vec![5, 10, 20, 30]),
        ] {
            let (times, _) = run(&check(3, start_period), probes);
            assert_eq!(times, seconds, "{start_period:?} {probes}");
        }
    }

    #[test]
    fn a_new_run_has_a_start_period_of_its_own() {
        let check = check(3, Some(60));
        let mut state = HealthState::default();
        state.count(&check, Millis(0), true, String::new(), Millis(5_000));
        assert_eq!(state.due(Some(&check), Millis(0)), Some(Millis(15_000)));
        state.restart();
        let again = Millis(20_000);
        assert_eq!(state.due(Some(&check), again), Some(Millis(25_000)));
    }

    #[test]
    fn none_switches_the_check_off() {
        let mut off = check(1, None);
        off.command = vec!["NONE".into()];
        assert_eq!(HealthState::default().due(Some(&off), Millis(0)), None);
        assert_eq!(HealthState::default().due(None, Millis(0)), None);
    }
}
