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
    #[serde(default)]
    follow: bool,
}

pub(super) async fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    let request: GetLogs = read(call.body)?;
    let task: TaskId = request.task.parse().map_err(|err| {
        ApiError::invalid_parameter(format!("{err}. FindTask gives the id of a prefix."))
    })?;
    let query = LogQuery {
        task,
        containers: request.containers,
        tail: request.tail,
        follow: request.follow,
    };
    let lines = call
        .door
        .local
        .read_logs(query)
        .await
        .map_err(local_error)?;
    let frames = unfold(lines, next_frame);
    Ok(stream(
        200,
        "application/x-ndjson",
        BodyExt::boxed(StreamBody::new(frames)),
    ))
}

type Piece = Result<Frame<Bytes>, std::io::Error>;

/// What is ready goes out as one frame.
async fn next_frame(
    mut lines: mpsc::Receiver<LogLine>,
) -> Option<(Piece, mpsc::Receiver<LogLine>)> {
    let mut ready = Vec::new();
    if lines.recv_many(&mut ready, 256).await == 0 {
        return None;
    }
    let mut text = Vec::new();
    for line in &ready {
        if let Err(err) = serde_json::to_writer(&mut text, line) {
            return Some((Err(err.into()), lines));
        }
        text.push(b'\n');
    }
    Some((Ok(Frame::data(text.into())), lines))
}
