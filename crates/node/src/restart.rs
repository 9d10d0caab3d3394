//! Whether a container that ended is started again in place.
//!
//! Source: ECS agent, restart policy: the attempt period is a minimum run time, not a delay; exit
//! code 0 restarts too, and so does an essential container.

use crate::limits::RESTART_ATTEMPT_PERIOD_S;
use windlass_model::container::RestartPolicy;
use windlass_model::id::Millis;

pub fn is_wanted(
    policy: Option<&RestartPolicy>,
    stopping: bool,
    exit_code: Option<i32>,
    run_started_at: Option<Millis>,
    now: Millis,
) -> bool {
    let Some(policy) = policy.filter(|policy| policy.enabled) else {
        return false;
    };
    let (Some(exit_code), Some(run_started_at), false) = (exit_code, run_started_at, stopping)
    else {
        return false;
    };
    let ignored = policy
        .ignored_exit_codes
        .as_ref()
        .is_some_and(|codes| codes.contains(&exit_code));
    let period_s = policy
        .restart_attempt_period_s
        .unwrap_or(RESTART_ATTEMPT_PERIOD_S);
    !ignored && now.since(run_started_at) >= i64::from(period_s) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_needs_every_condition() {
        let policy = RestartPolicy {
            enabled: true,
            ignored_exit_codes: Some(vec![3]),
            restart_attempt_period_s: Some(60),
        };
        let disabled = RestartPolicy {
            enabled: false,
            ..policy.clone()
        };
        let at = |policy, stopping, code, ran_s: i64| {
            is_wanted(
                policy,
                stopping,
                code,
                Some(Millis(0)),
                Millis(ran_s * 1_000),
            )
        };
        assert!(at(Some(&policy), false, Some(0), 60));
        assert!(at(Some(&policy), false, Some(1), 61));
        assert!(!at(Some(&policy), false, Some(1), 59), "ran too short");
        assert!(!at(Some(&policy), false, Some(3), 60), "ignored code");
        assert!(!at(Some(&policy), true, Some(1), 60), "stopping");
        assert!(!at(Some(&policy), false, None, 60), "code unknown");
        assert!(!at(Some(&disabled), false, Some(1), 60));
        assert!(!at(None, false, Some(1), 60));
    }
}
