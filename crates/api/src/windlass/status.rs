//! What serves here, and a backup of it.

use super::json;
use crate::door::{Answer, stream};
use crate::ops::Call;
use crate::reject::api_error;
use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use windlass_server::Handle;
use windlass_wire::ApiError;

pub(super) fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "region": call.scope().region,
        "accountId": call.scope().account,
        "caller": call.caller.arn,
    }))
}

/// Pieces of a backup between the thread that writes it and the connection that sends it.
const BACKUP_PIECES: usize = 8;
const PIECE_BYTES: usize = 256 << 10;

/// The state and its history as of the last turn, in the backup format, while everything goes on.
pub(super) async fn backup(call: &Call<'_>) -> Result<Answer, ApiError> {
    let view = call.door.leader.snapshot().await;
    let view = view.map_err(|refused| api_error(call.scope(), refused))?;
    let label = call.door.backup_label.clone();
    let (pieces, receiver) = mpsc::channel(BACKUP_PIECES);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let made_ms = since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    });
    tokio::task::spawn_blocking(move || {
        let mut writer = PieceWriter {
            pieces: pieces.clone(),
            buffer: Vec::new(),
        };
        let written = Handle::backup(view.as_ref(), made_ms, &label, &mut writer)
            .map_err(|refused| std::io::Error::other(refused.to_string()))
            .and_then(|_| writer.flush());
        if let Err(err) = written {
            tracing::warn!(%err, "a backup was not finished");
            // The connection is cut, so that half a backup is not taken for a whole one.
            let _ = pieces.blocking_send(Err(err));
        }
    });
    let frames = unfold(
        receiver,
        |mut receiver: mpsc::Receiver<Result<Bytes, std::io::Error>>| async {
            let piece = receiver.recv().await?;
            Some((piece.map(Frame::data), receiver))
        },
    );
    Ok(stream(
        200,
        "application/octet-stream",
        BodyExt::boxed(StreamBody::new(frames)),
    ))
}

struct PieceWriter {
    pieces: mpsc::Sender<Result<Bytes, std::io::Error>>,
    buffer: Vec<u8>,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.buffer).into();
        self.pieces
            .blocking_send(Ok(piece))
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the client is gone"))
    }
}
