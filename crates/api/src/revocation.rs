//! What was begun with a key ends with it: a log may be followed for days, and an upload take hours.

use crate::keys::{AccessKey, Keys};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Body;
use std::io;
use std::sync::Arc;

type Answering = BoxBody<Bytes, io::Error>;

/// The same body, cut when the key is removed. One that is whole already is left as it is.
pub(crate) fn until_removed(body: Answering, keys: &Keys, key: &Arc<AccessKey>) -> Answering {
    if body.size_hint().exact().is_some() {
        return body;
    }
    let removed = keys.removed(key.clone());
    let begun = (body, Box::pin(removed));
    let frames = futures_util::stream::unfold(Some(begun), |begun| async move {
        let (mut body, mut removed) = begun?;
        let frame = tokio::select! {
            biased;
            () = &mut removed => Some(Err(cut())),
            frame = body.frame() => frame,
        };
        let goes_on = frame.as_ref().is_some_and(Result::is_ok);
        Some((frame?, goes_on.then_some((body, removed))))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

fn cut() -> io::Error {
    let why = "the access key that asked was removed";
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
