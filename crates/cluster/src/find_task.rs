//! FindTask: the one task whose id begins with some digits, in any cluster.

use crate::decision::Answer;
use crate::reject::Reject;
use crate::state::State;
use windlass_model::id::TaskId;

const DIGITS: usize = 32;

pub(crate) fn read(state: &State, prefix: &str) -> Result<Answer, Reject> {
    let none = || Reject::NoTaskBeginsWith(prefix.chars().take(DIGITS * 2).collect());
    let hex = prefix
        .bytes()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if prefix.is_empty() || prefix.len() > DIGITS || !hex {
        return Err(none());
    }
    // Ids that begin so lie between the prefix filled with zeros and with ones.
    let bound = |fill: &str| {
        let digits = format!("{prefix}{}", fill.repeat(DIGITS - prefix.len()));
        digits.parse::<TaskId>().map_err(|_| none())
    };
    let mut found = state.specs.range(bound("0")?..=bound("f")?);
    let (id, _) = found.next().ok_or_else(none)?;
    if found.next().is_some() {
        return Err(Reject::AmbiguousTask(prefix.to_owned()));
    }
    state.task_view(*id).map(Answer::Task).ok_or_else(none)
}
