//! Bodies of requests, bounded in bytes, in time without progress, and in time altogether.

use std::future::poll_fn;
use std::pin::Pin;

use hyper::body::Body;
use warp::http::{HeaderMap, StatusCode, header};
use warp::reply::Response;

use super::answers;
use crate::config::HttpSettings;
use crate::server::unread::RequestBody;

/// Reads a body.
///
/// # Errors
///
/// 415 for a compressed body; 413 for a body that is too large, as soon as that is known; 408 for a
/// body that does not arrive in time; 400 for a body that is broken.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: RequestBody,
    settings: &HttpSettings,
) -> Result<Vec<u8>, Response> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings
        .into_iter()
        .any(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(answers::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let read = tokio::time::timeout(settings.body_timeout, collect(&mut body, settings)).await;
    read.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
        .map_err(|status| {
            if status == StatusCode::REQUEST_TIMEOUT {
                body.give_up();
            }
            answers::refusal(status)
        })
}

async fn collect(body: &mut RequestBody, settings: &HttpSettings) -> Result<Vec<u8>, StatusCode> {
    if body.size_hint().lower() > settings.body_bytes as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let mut read = Vec::new();
    loop {
        let next = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        let Ok(next) = tokio::time::timeout(settings.body_progress_timeout, next).await else {
            return Err(StatusCode::REQUEST_TIMEOUT);
        };
        match next {
            Some(Ok(frame)) => {
                // Trailers are not used.
                let piece = frame.into_data().unwrap_or_default();
                if read.len().saturating_add(piece.len()) > settings.body_bytes {
                    return Err(StatusCode::PAYLOAD_TOO_LARGE);
                }
                read.extend_from_slice(&piece);
            }
            None => return Ok(read),
            Some(Err(_)) => return Err(StatusCode::BAD_REQUEST),
        }
    }
}
