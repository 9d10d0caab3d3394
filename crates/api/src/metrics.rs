//! What the door counts, and the text in which Prometheus reads it: format 0.0.4, a few lines of
//! text, for which a library would bring more than it saves.
//!
//! No value and no label comes from a request: operations are those that there are, and outcomes are
//! error codes. So nobody adds lines, and nothing that a task is called is among them.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the latencies' buckets, in seconds.
const BOUNDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Of a call whose signature did not hold, whatever it asked for.
pub(crate) const UNAUTHENTICATED: &str = "unauthenticated";
/// Of a signed call for what there is not.
pub(crate) const UNKNOWN: &str = "unknown";

#[derive(Default)]
pub(crate) struct Metrics {
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    /// By operation and outcome.
    counts: BTreeMap<(&'static str, &'static str), u64>,
    durations: BTreeMap<&'static str, Histogram>,
}

#[derive(Default)]
struct Histogram {
    /// Of each bound, without those of the bounds below; the last is above all.
    counts: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

impl Metrics {
    /// One call was answered, or its answer began: with success when `outcome` is `ok`.
    pub(crate) fn record(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        let mut calls = self.lock();
        *calls.counts.entry((operation, outcome)).or_default() += 1;
        let histogram = calls.durations.entry(operation).or_default();
        let seconds = took.as_secs_f64();
        let at = BOUNDS.iter().position(|bound| seconds <= *bound);
        histogram.counts[at.unwrap_or(BOUNDS.len())] += 1;
        histogram.seconds += seconds;
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines of all calls.
    pub(crate) fn render(&self, text: &mut Exposition) {
        let calls = self.lock();
        let name = "windlass_api_calls_total";
        text.head(
            name,
            "counter",
            "Calls by operation and outcome: ok, or the error's code.",
        );
        for ((operation, outcome), count) in &calls.counts {
            let labels = [("operation", *operation), ("outcome", *outcome)];
            text.line(name, &labels, count);
        }
        let name = "windlass_api_call_duration_seconds";
        text.head(
            name,
            "histogram",
            "Time from a call's head to the begin of its answer.",
        );
        for (operation, histogram) in &calls.durations {
            histogram.render(name, operation, text);
        }
    }
}

impl Histogram {
    fn render(&self, name: &str, operation: &str, text: &mut Exposition) {
        let mut below = 0;
        for (at, count) in self.counts.iter().enumerate() {
            below += count;
            let bound = BOUNDS.get(at).map_or("+Inf".to_owned(), f64::to_string);
            let labels = [("operation", operation), ("le", bound.as_str())];
            text.line(&format!("{name}_bucket"), &labels, below);
        }
        let labels = [("operation", operation)];
        text.line(&format!("{name}_sum"), &labels, self.seconds);
        text.line(&format!("{name}_count"), &labels, below);
    }
}

/// Text that grows metric by metric.
#[derive(Default)]
pub(crate) struct Exposition {
    pub(crate) text: String,
}

impl Exposition {
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample. Labels hold nothing that needs to be escaped.
    pub(crate) fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.text, "{name} {value}"),
            false => writeln!(self.text, "{name}{{{}}} {value}", labels.join(",")),
        };
    }

    /// A metric with one sample.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.line(name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_rendered_as_prometheus_reads_them() {
        let metrics = Metrics::default();
        metrics.record("RunTask", "ok", Duration::from_millis(3));
        metrics.record("RunTask", "ok", Duration::from_secs(20));
        metrics.record("RunTask", "ClientException", Duration::from_millis(1));
        let mut text = Exposition::default();
        metrics.render(&mut text);
        for line in [
            "# TYPE windlass_api_calls_total counter",
            "windlass_api_calls_total{operation=\"RunTask\",outcome=\"ClientException\"} 1",
            "windlass_api_calls_total{operation=\"RunTask\",outcome=\"ok\"} 2",
            "# TYPE windlass_api_call_duration_seconds histogram",
            "windlass_api_call_duration_seconds_bucket{operation=\"RunTask\",le=\"0.001\"} 1",
            "windlass_api_call_duration_seconds_bucket{operation=\"RunTask\",le=\"0.005\"} 2",
            "windlass_api_call_duration_seconds_bucket{operation=\"RunTask\",le=\"10\"} 2",
            "windlass_api_call_duration_seconds_bucket{operation=\"RunTask\",le=\"+Inf\"} 3",
            "windlass_api_call_duration_seconds_sum{operation=\"RunTask\"} 20.004",
            "windlass_api_call_duration_seconds_count{operation=\"RunTask\"} 3",
        ] {
            assert!(
                text.text.lines().any(|it| it == line),
                "{line}\n{}",
                text.text
            );
        }
    }
}
