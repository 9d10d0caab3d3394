//! Samples, and the table that shows them.

/// Samples of one thing by round, in the unit of the caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    rounds: Vec<Vec<f64>>,
}

impl Samples {
    pub(crate) fn push_round(&mut self, samples: Vec<f64>) {
        self.rounds.push(samples);
    }

    /// The median of the rounds' medians: one bad round does not move it.
    pub(crate) fn p50(&self) -> f64 {
        median(
            self.rounds
                .iter()
                .map(|round| median(round.clone()))
                .collect(),
        )
    }

    /// Of all samples together.
    pub(crate) fn p99(&self) -> f64 {
        let mut all: Vec<f64> = self.rounds.iter().flatten().copied().collect();
        all.sort_by(f64::total_cmp);
        let at = (all.len() * 99).div_ceil(100).saturating_sub(1);
        all.get(at).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn min(&self) -> f64 {
        self.rounds
            .iter()
            .flatten()
            .copied()
            .fold(f64::NAN, f64::min)
    }

    pub(crate) fn count(&self) -> usize {
        self.rounds.iter().map(Vec::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.retain(|sample| sample.is_finite());
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    match (samples.get(middle), samples.len() % 2) {
        (None, _) => f64::NAN,
        (Some(value), 1) => *value,
        (Some(value), _) => (samples[middle - 1] + value) / 2.0,
    }
}

/// Which way is good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

pub(crate) fn head(title: &str) {
    println!("\n{title}");
    println!(
        "  {:<44} {:>9} {:>9} {:>9} {:>5}   {:>9} {:>9} {:>4}  {:>8}",
        "", "p50", "p99", "min", "n", "peer p50", "p99", "n", "ratio"
    );
}

/// One line: ours, the peer's, and how many times better ours is.
pub(crate) fn line(name: &str, ours: &Samples, peer: &Samples, better: Better) {
    let (peers, ratio) = if peer.is_empty() {
        (format!("{:>9} {:>9} {:>4}", "-", "-", "-"), "-".to_owned())
    } else {
        let ratio = match better {
            Better::Less => peer.p50() / ours.p50(),
            Better::More => ours.p50() / peer.p50(),
        };
        let peers = format!(
            "{:>9} {:>9} {:>4}",
            show(peer.p50()),
            show(peer.p99()),
            peer.count()
        );
        (peers, format!("{ratio:.1}x"))
    };
    println!(
        "  {name:<44} {:>9} {:>9} {:>9} {:>5}   {peers}  {ratio:>8}",
        show(ours.p50()),
        show(ours.p99()),
        show(ours.min()),
        ours.count()
    );
}

fn show(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
        let mut samples = Samples::default();
        samples.push_round((1..=100).map(f64::from).collect());
        assert_eq!(
            (samples.p50(), samples.p99(), samples.min()),
            (50.5, 99.0, 1.0)
        );
        // A round on a busy machine.
        samples.push_round(vec![1e6]);
        samples.push_round(vec![50.5]);
        assert_eq!(samples.p50(), 50.5);
    }
}
