//! Images of the machine: list, load, pull, import, name, remove, and the room they take.

use super::{json, local_error, read};
use crate::door::{Answer, Door};
use crate::limits::{self, UploadPace};
use crate::ops::Call;
use crate::reject::api_error;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use windlass_wire::{ApiError, ErrorCode, messages};

#[derive(Serialize)]
struct Images<T> {
    images: Vec<T>,
}

#[derive(Deserialize)]
struct Named {
    image: String,
}

#[derive(Deserialize)]
struct Tagged {
    image: String,
    name: String,
}

#[derive(Deserialize)]
struct Pruned {
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize)]
struct Imported {
    name: String,
    directory: PathBuf,
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let images = call.door.local.list_images().await.map_err(local_error)?;
    json(&Images { images })
}

pub(super) async fn pull(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Named { image } = read(call.body)?;
    refuse_when_low(call.door).await?;
    let pulled = call
        .door
        .local
        .pull_image(image)
        .await
        .map_err(local_error)?;
    json(&Images {
        images: vec![pulled],
    })
}

pub(super) async fn remove(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Named { image } = read(call.body)?;
    call.door
        .local
        .remove_image(image)
        .await
        .map_err(local_error)?;
    json(&serde_json::json!({}))
}

pub(super) async fn tag(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Tagged { image, name } = read(call.body)?;
    let tagged = call.door.local.tag_image(image, name).await;
    let images = vec![tagged.map_err(local_error)?];
    json(&Images { images })
}

pub(super) async fn prune(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Pruned { all } = read(call.body)?;
    json(
        &call
            .door
            .local
            .prune_images(all)
            .await
            .map_err(local_error)?,
    )
}

pub(super) async fn usage(call: &Call<'_>) -> Result<Answer, ApiError> {
    json(&call.door.local.image_usage().await.map_err(local_error)?)
}

pub(super) async fn import_rootfs(call: &Call<'_>) -> Result<Answer, ApiError> {
    let Imported { name, directory } = read(call.body)?;
    refuse_when_low(call.door).await?;
    let image = call
        .door
        .local
        .import_rootfs(name, directory)
        .await
        .map_err(local_error)?;
    json(&Images {
        images: vec![image],
    })
}

/// An image adds more than any call: below the reserve none comes in.
async fn refuse_when_low(door: &Door) -> Result<(), ApiError> {
    let room = door.leader.room().await;
    room.map_err(|refused| api_error(&door.scope, refused))
}

/// Removes an upload however its request ends.
struct Upload(PathBuf);

impl Drop for Upload {
    fn drop(&mut self) {
        if let Err(err) = std::fs::remove_file(&self.0) {
            tracing::debug!(%err, path = %self.0.display(), "an upload could not be removed");
        }
    }
}

/// How fast an upload comes: a client that sends a byte now and then would never end.
struct Pace {
    wanted: UploadPace,
    /// Spent waiting for the client; the disk's time is not its own.
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(wanted: UploadPace) -> Pace {
        Pace {
            wanted,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    async fn next(&mut self, body: &mut Incoming) -> Result<Option<Frame<Bytes>>, ApiError> {
        let asked = Instant::now();
        let patience = self.wanted.time.saturating_sub(self.waited);
        let frame = tokio::time::timeout(patience, body.frame()).await;
        let frame = frame.map_err(|_| self.too_slow())?;
        let frame = frame.transpose().map_err(|err| {
            ApiError::new(
                ErrorCode::Serialization,
                format!("The upload was cut: {err}."),
            )
        })?;
        self.count(asked.elapsed(), frame.as_ref());
        Ok(frame)
    }

    fn count(&mut self, waited: Duration, frame: Option<&Frame<Bytes>>) {
        self.waited += waited;
        let data = frame.and_then(Frame::data_ref);
        self.bytes += data.map_or(0, |data| data.len() as u64);
        if self.bytes >= self.wanted.bytes {
            *self = Pace::new(self.wanted);
        }
    }

    fn too_slow(&self) -> ApiError {
        let message = format!(
            "The upload is too slow: {} KiB have to arrive every {} seconds.",
            self.wanted.bytes >> 10,
            self.wanted.time.as_secs()
        );
        ApiError::new(ErrorCode::Serialization, message)
    }
}

/// The body is an archive, streamed to a file and held against the digest that was signed.
pub(super) async fn load(
    door: &Door,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Answer, ApiError> {
    refuse_when_low(door).await?;
    let declared = headers
        .get("x-amz-content-sha256")
        .and_then(|value| value.to_str().ok());
    // Signed, as every header of this kind is.
    let name = headers
        .get("x-amz-windlass-image")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let path = door
        .local
        .upload_dir()
        .join(format!("upload-{:032x}", rand::random::<u128>()));
    let failed = |err: std::io::Error| {
        ApiError::new(
            ErrorCode::Server,
            format!("Writing the upload to {}: {err}.", path.display()),
        )
    };
    let mut file = tokio::fs::File::create_new(&path).await.map_err(failed)?;
    let upload = Upload(path.clone());
    let mut digest = Sha256::new();
    let mut length: u64 = 0;
    let mut next_look = limits::UPLOAD_BYTES_BETWEEN_LOOKS;
    let mut pace = Pace::new(door.upload_pace);
    while let Some(frame) = pace.next(body).await? {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len() as u64);
        if length > limits::UPLOAD_BYTES_MAX {
            return Err(ApiError::new(
                ErrorCode::RequestEntityTooLarge,
                format!(
                    "An upload may have {} bytes at most.",
                    limits::UPLOAD_BYTES_MAX
                ),
            ));
        }
        digest.update(&data);
        file.write_all(&data).await.map_err(failed)?;
        if length >= next_look {
            next_look = length.saturating_add(limits::UPLOAD_BYTES_BETWEEN_LOOKS);
            refuse_when_low(door).await?;
        }
    }
    file.flush().await.map_err(failed)?;
    drop(file);
    if declared != Some(hex::encode(digest.finalize()).as_str()) {
        return Err(messages::request::signature_mismatch());
    }
    let loaded = door
        .local
        .load_image(upload.0.clone(), name)
        .await
        .map_err(local_error)?;
    json(&loaded)
}
