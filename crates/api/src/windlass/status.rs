//! What serves here, and a backup of it.

use super::json;
use crate::door::{Answer, now_ms, stream};
use crate::limits;
use crate::ops::Call;
use crate::reject::api_error;
use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use std::io::ErrorKind::{BrokenPipe, TimedOut};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use windlass_server::Handle;
use windlass_wire::{ApiError, ErrorCode};

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
    // Each holds a thread and a view of the store for as long as its client takes.
    let turn = call.door.backups.clone().try_acquire_owned();
    let turn = turn.map_err(|_| {
        let message = format!(
            "{} backups are being made, which is the most at a time: try again when one has ended.",
            limits::BACKUPS_MAX
        );
        ApiError::new(ErrorCode::ServiceUnavailable, message)
    })?;
    let view = call.door.leader.snapshot().await;
    let view = view.map_err(|refused| api_error(call.scope(), refused))?;
    let label = call.door.backup_label.clone();
    let (pieces, receiver) = mpsc::channel(BACKUP_PIECES);
    let is_whole = Arc::new(AtomicBool::new(false));
    let finished = is_whole.clone();
    let made_ms = now_ms();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut writer = PieceWriter {
            pieces,
            buffer: Vec::new(),
        };
        let written = Handle::backup(view.as_ref(), made_ms, &label, &mut writer)
            .map_err(|refused| std::io::Error::other(refused.to_string()))
            .and_then(|_| writer.flush());
        match written {
            Ok(()) => finished.store(true, Ordering::Release),
            Err(err) => tracing::warn!(%err, "a backup was not finished"),
        }
    });
    let frames = unfold(receiver, move |mut receiver: mpsc::Receiver<Bytes>| {
        let is_whole = is_whole.clone();
        async move {
            let piece = match receiver.recv().await {
                Some(piece) => Ok(Frame::data(piece)),
                None if is_whole.load(Ordering::Acquire) => return None,
                // The connection is cut, so that half a backup is not taken for a whole one.
                None => Err(std::io::Error::other("the backup was not finished")),
            };
            Some((piece, receiver))
        }
    });
    Ok(stream(
        200,
        "application/octet-stream",
        BodyExt::boxed(StreamBody::new(frames)),
    ))
}

struct PieceWriter {
    pieces: mpsc::Sender<Bytes>,
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
        let sent = self.pieces.send(piece);
        let sent = async { tokio::time::timeout(limits::BACKUP_UNREAD_TIMEOUT, sent).await };
        match tokio::runtime::Handle::current().block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(std::io::Error::new(BrokenPipe, "the client is gone")),
            Err(_) => Err(std::io::Error::new(TimedOut, "the client does not read")),
        }
    }
}
