//! Answers of plain text.

use warp::Reply;
use warp::http::StatusCode;
use warp::reply::Response;

pub(super) fn plain(status: StatusCode, text: &'static str) -> Response {
    warp::reply::with_status(text, status).into_response()
}
