//! GetLogs: a task's lines as JSON, one record a line, streamed; with `follow` until it ended.

use super::{local_error, read};
use crate::door::{Answer, stream};
use crate::local::{LogLine, LogQuery};
use crate::ops::Call;
use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;
use windlass_model::id::TaskId;
use windlass_wire::ApiError;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetLogs {
    task: String,
    #[serde(default)]
    containers: Vec<String>,
    tail: Option<usize>,
    since: Option<String>,
    #[serde(default)]
    follow: bool,
}

pub(super) async fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    let request: GetLogs = read(call.body)?;
    let task: TaskId = request.task.parse().map_err(|err| {
        ApiError::invalid_parameter(format!("{err}. FindTask gives the id of a prefix."))
    })?;
    if let Some(since) = request.since.as_deref().filter(|it| !is_record_time(it)) {
        return Err(ApiError::invalid_parameter(format!(
            "since is a time like 2026-01-01T00:00:00.000000000Z, not {since}."
        )));
    }
    let query = LogQuery {
        task,
        containers: request.containers,
        tail: request.tail,
        since: request.since,
        follow: request.follow,
    };
    let lines = call
        .door
        .local
        .read_logs(query)
        .await
        .map_err(local_error)?;
    let frames = unfold(Some(lines), next_frame);
    Ok(stream(
        200,
        "application/x-ndjson",
        BodyExt::boxed(StreamBody::new(frames)),
    ))
}

/// Whether it has the form of a record's time, so that they compare as text.
fn is_record_time(text: &str) -> bool {
    let form = b"0000-00-00T00:00:00.000000000Z";
    let fits = |(c, form): (u8, &u8)| match form {
        b'0' => c.is_ascii_digit(),
        form => c == *form,
    };
    text.len() == form.len() && text.bytes().zip(form).all(fits)
}

type Piece = std::io::Result<Frame<Bytes>>;

/// Lines that go out as one frame at most.
const LINES_PER_FRAME: usize = 64;

/// What is ready goes out as one frame; after an error nothing does.
async fn next_frame(
    lines: Option<mpsc::Receiver<std::io::Result<LogLine>>>,
) -> Option<(Piece, Option<mpsc::Receiver<std::io::Result<LogLine>>>)> {
    let mut lines = lines?;
    let mut ready = Vec::new();
    if lines.recv_many(&mut ready, LINES_PER_FRAME).await == 0 {
        return None;
    }
    let mut text = Vec::new();
    for line in ready {
        let line = line.and_then(|line| {
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
            Ok(())
        });
        if let Err(err) = line {
            return Some((Err(err), None));
        }
    }
    Some((Ok(Frame::data(text.into())), Some(lines)))
}
