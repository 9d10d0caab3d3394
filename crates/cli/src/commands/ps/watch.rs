//! `ps --watch`: the list again whenever it changes.

use super::{PsArgs, nothing, render, tasks};
use crate::commands::Context;
use crate::failure::Failure;
use crate::limits;
use crate::link::GONE;
use crate::output::Format;
use serde_json::Value;
use tokio::time::Instant;

/// To the upper left corner, and everything from there on cleared.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J\x1b[3J";

pub(super) async fn run(args: &PsArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let mut link = context.link()?;
    let mut shown: Option<Value> = None;
    loop {
        let began = Instant::now();
        let tasks = match tasks(args, &link.client).await {
            Ok(tasks) => tasks,
            Err(failure) => {
                if failure.is_gone() && shown.is_some() {
                    context.out.note(GONE);
                }
                link.mend(failure).await?;
                continue;
            }
        };
        let is_first = shown.is_none();
        // Their ages change all the time: for who reads a pipe that is no news.
        let now = serde_json::json!(tasks);
        let is_new = shown.as_ref() != Some(&now);
        if context.out.out_is_terminal {
            context.out.raw(CLEAR)?;
        }
        if is_new || context.out.out_is_terminal {
            let lines = render(args, &tasks, &context.out)?;
            if !is_first && !context.out.out_is_terminal && args.shown.output == Format::Table {
                context.out.line("")?;
            }
            context.out.lines(&lines)?;
            if tasks.is_empty() && context.out.out_is_terminal {
                context.out.hint(nothing(args));
            }
            context.out.flush()?;
        }
        shown = Some(now);
        // A list of thousands takes its time: the server has other things to do than to answer this.
        let pause = began.elapsed().saturating_mul(limits::WATCH_SHARE);
        tokio::time::sleep(pause.max(limits::WATCH_PAUSE)).await;
    }
}
