//! Signs that something goes on, on a terminal's stderr, for what takes longer than a second.

use crate::limits;
use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::future::Future;
use std::time::Duration;

/// Redraws.
const TICK: Duration = Duration::from_millis(100);

/// A bar or spinner that shows itself once patience is over.
pub(crate) struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// Of bytes whose number is known, or not.
    pub(crate) fn of_bytes(output: &Output, label: &str, total: Option<u64>) -> Progress {
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {eta}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{msg} {binary_bytes} {binary_bytes_per_sec}",
            ),
        };
        Progress::new(output, bar, template, label)
    }

    pub(crate) fn spinner(output: &Output, label: &str) -> Progress {
        Progress::new(
            output,
            ProgressBar::new_spinner(),
            "{spinner} {msg} {elapsed}",
            label,
        )
    }

    fn new(output: &Output, bar: ProgressBar, template: &str, label: &str) -> Progress {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        // The templates are ours and right; a plain bar is no harm.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(label.to_owned());
        Progress {
            bar,
            terminal: output.err_is_smart,
        }
    }

    /// Counts bytes.
    pub(crate) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Waits for `work`, visibly when it takes long.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(limits::PATIENCE, &mut work).await {
            return done;
        }
        if self.terminal {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(TICK);
        }
        let done = work.await;
        self.bar.finish_and_clear();
        done
    }
}
