//! The health check of one container.
//!
//! ```text
//!              success                    `retries` failures in a row
//!  UNKNOWN ───────────────► HEALTHY ◄──────────────────────────► UNHEALTHY
//!     └───────── `retries` failures in a row ─────────────────────►
//! ```
//! Failures within the start period do not count; a success does at once, and ends the period.
//! Source: ECS API, `HealthCheck`; Docker's order of probes: the first comes one interval after
//! the start, the next one interval after the last ended.

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
        Some(from.plus_ms(i64::from(check.interval_s) * 1_000))
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
        let start_period_ms = i64::from(check.start_period_s.unwrap_or(0)) * 1_000;
        if self.status.is_none() && now.since(run_started_at) < start_period_ms {
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

    /// One letter a probe, 10 s apart: `s`uccess or `f`ailure; the answer is the status after it.
    fn run(check: &HealthCheck, probes: &str) -> String {
        let mut state = HealthState::default();
        let mut now = Millis(0);
        let mut shown = String::new();
        for probe in probes.chars() {
            now = state.due(Some(check), Millis(0)).unwrap();
            state.count(check, Millis(0), probe == 's', String::new(), now);
            shown.push_str(match state.status() {
                Health::Unknown => "?",
                Health::Healthy => "H",
                Health::Unhealthy => "U",
            });
        }
        assert_eq!(now.0, 10_000 * probes.len() as i64);
        shown
    }

    #[test]
    fn statuses_follow_the_probes() {
        for (retries, start_period, probes, shown) in [
            (3, None, "ffff", "??UU"),
            (3, None, "sffs", "HHHH"),
            (3, None, "sfffs", "HHHUH"),
            (2, Some(35), "fffff", "????U"),
            // A success within the start period ends it: later failures count.
            (1, Some(300), "sf", "HU"),
            (1, Some(15), "fs", "?H"),
        ] {
            assert_eq!(
                run(&check(retries, start_period), probes),
                shown,
                "{probes}"
            );
        }
    }

    #[test]
    fn none_switches_the_check_off() {
        let mut off = check(1, None);
        off.command = vec!["NONE".into()];
        assert_eq!(HealthState::default().due(Some(&off), Millis(0)), None);
        assert_eq!(HealthState::default().due(None, Millis(0)), None);
    }
}
