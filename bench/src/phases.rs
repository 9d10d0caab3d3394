//! Where each millisecond of a start goes: the product's own log of a start's steps, whose lines
//! carry the time, between the call and the container's word.
//!
//! The steps are logged at level debug by target `timing`. Writing them costs a little, so this
//! runs apart from what measures whole starts.

use crate::figures::median;
use crate::node::{self, Node, Shape};
use crate::speech::Speech;
use crate::starts::one;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

const STARTS: usize = 40;
pub(crate) const LOG: &str = "warn,timing=debug";

pub(crate) async fn measure(node: &Node, shape: Shape, speech: &mut Speech) -> Result<()> {
    let mut client = node.client().await?;
    node::register(&mut client, shape, &speech.folder).await?;
    one(&mut client, shape, speech).await?;
    let mut steps: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..STARTS {
        let log_before = std::fs::metadata(node.log_path())?.len();
        let called = SystemTime::now();
        let (_, said) = one(&mut client, shape, speech).await?;
        let whole = said.wall.duration_since(called)?.as_secs_f64() * 1e3;
        for (step, at) in read(&node.log_path(), log_before)? {
            let ms = at.duration_since(called).unwrap_or_default().as_secs_f64() * 1e3;
            if ms <= whole {
                steps.entry(step).or_default().push(ms);
            }
        }
        steps
            .entry("its own process speaks".into())
            .or_default()
            .push(whole);
    }
    let mut rows: Vec<(f64, String, usize)> = steps
        .into_iter()
        .map(|(step, times)| (median(times.clone()), step, times.len()))
        // A step that most starts have before the word.
        .filter(|(_, _, count)| *count * 2 > STARTS)
        .collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    println!(
        "\nwhere a start's time goes: {}, p50 of {STARTS}, ms since the call",
        shape.family()
    );
    let mut before = 0.0;
    for (at, step, _) in rows {
        println!("  {at:>8.3}  +{:>6.3}  {step}", at - before);
        before = at;
    }
    Ok(())
}

/// Steps and their times, from the log after `offset`.
fn read(log: &Path, offset: u64) -> Result<Vec<(String, SystemTime)>> {
    let text = std::fs::read(log)?;
    let new = usize::try_from(offset)
        .ok()
        .and_then(|offset| text.get(offset..));
    let text = String::from_utf8_lossy(new.unwrap_or_default()).into_owned();
    let mut steps: Vec<(String, SystemTime)> = Vec::new();
    for line in text.lines() {
        let Some((head, step)) = line.split_once(" timing: ") else {
            continue;
        };
        let time = head
            .split_whitespace()
            .next()
            .context("a line without time")?;
        let at: jiff::Timestamp = plain(time).parse()?;
        // The same step of a second container.
        let repeated = steps
            .iter()
            .filter(|(known, _)| known.starts_with(step))
            .count();
        let name = match repeated {
            0 => step.to_owned(),
            more => format!("{step} ({})", more + 1),
        };
        steps.push((name, at.into()));
    }
    Ok(steps)
}

/// Without the colours of a terminal.
fn plain(text: &str) -> String {
    let start = text.find('2').unwrap_or(0);
    let text = &text[start..];
    text.find('Z').map_or(text, |end| &text[..=end]).to_owned()
}
