//! Bodies of requests: bounded in bytes, and in the time without progress.

use std::pin::pin;
use std::time::Duration;

use bytes::Buf;
use futures_util::{Stream, StreamExt};
use warp::http::{HeaderMap, StatusCode, header};
use warp::reply::Response;

use super::answers;

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
pub(super) async fn read<B: Buf>(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
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
    let mut body = pin!(body);
    let mut read = Vec::new();
    loop {
        match tokio::time::timeout(limits.progress, body.next()).await {
            Ok(Some(Ok(mut piece))) => {
                if read.len().saturating_add(piece.remaining()) > limits.bytes {
                    return Err(too_large());
                }
                while piece.has_remaining() {
                    let chunk = piece.chunk();
                    read.extend_from_slice(chunk);
                    let length = chunk.len();
                    piece.advance(length);
                }
            }
            Ok(None) => return Ok(read),
            Ok(Some(Err(_))) => return Err(answers::refusal(StatusCode::BAD_REQUEST)),
            Err(_) => return Err(answers::refusal(StatusCode::REQUEST_TIMEOUT)),
        }
    }
}
