//! Bodies of requests: bounded in bytes, and in the time without progress.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::Body;
use warp::http::{HeaderMap, StatusCode, header};
use warp::reply::Response;

use super::answers;
use crate::server::incoming::Incoming;

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Limits {
    /// Bytes.
    pub(in crate::server) bytes: usize,
    /// How long the next piece may take.
    pub(in crate::server) progress: Duration,
}

/// Reads a body.
///
/// # Errors
///
/// 415 for a compressed one; 413 for one that is too large, as soon as that is known; 408 for one that does not come.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    limits: Limits,
) -> Result<Vec<u8>, Response> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings
        .into_iter()
        .any(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(answers::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let too_large = || answers::refusal(StatusCode::PAYLOAD_TOO_LARGE);
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limits.bytes as u64) {
        return Err(too_large());
    }
    let mut read = Vec::new();
    loop {
        let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        match tokio::time::timeout(limits.progress, next).await {
            Ok(Some(Ok(frame))) => {
                // Nobody asks for trailers.
                let piece = frame.into_data().unwrap_or_default();
                if read.len().saturating_add(piece.len()) > limits.bytes {
                    return Err(too_large());
                }
                read.extend_from_slice(&piece);
            }
            Ok(None) => return Ok(read),
            Ok(Some(Err(_))) => return Err(answers::refusal(StatusCode::BAD_REQUEST)),
            Err(_) => return Err(answers::refusal(StatusCode::REQUEST_TIMEOUT)),
        }
    }
}
