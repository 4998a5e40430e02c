//! SockJS over HTTP: the answer at each of its URLs. `updraft_protocol` decides what a request asks
//! for; frames come from the shard that owns the session.

mod answers;
mod body;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::stream;
use updraft_protocol::sockjs::{self, BadBody, Endpoint, Receiving, Route, Sending, Wrapping};
use warp::Reply;
use warp::http::{HeaderMap, HeaderName, Request, header};
use warp::reply::Response;

use super::admission::Refused;
use super::front::Front;
use super::sites::Site;
use super::unread::RequestBody;
use super::upgrade::{upgrade, upgrade_of};
use crate::shard::polling_sessions::{Chunks, Found, PollingSession, SessionShare};
use crate::shard::{Arrival, Peer};
use crate::stream::Speaks;
use crate::transport::Framing;
use answers::Answers;

/// The header by which a response tells nginx, and other proxies, not to buffer it.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers a request below the prefix of a service.
pub(super) async fn answer(
    front: &Arc<Front>,
    site: Site,
    mut request: Request<RequestBody>,
    peer: SocketAddr,
) -> Response {
    let on_upgrade = upgrade_of(&mut request);
    let (request, body) = request.into_parts();
    let headers = &request.headers;
    let options = &site.service.options;
    let answers = Answers::new(options, headers);
    let route = sockjs::route(request.method.as_str(), &site.path);
    // WebSockets and new sessions are checked more closely below. For the page for frames the
    // browser itself checks which page has it in a frame, also when the page comes from its cache.
    if !matches!(route, Route::Greeting | Route::Iframe)
        && let Err(refused) = front.admission().screen(headers)
    {
        return refused.answer();
    }
    match route {
        Route::NotFound => answers::not_found(),
        Route::MethodNotAllowed(methods) => answers::not_allowed(methods),
        Route::Greeting => answers::text("Welcome to SockJS!\n"),
        Route::Iframe => answers.iframe(front.admission().frame_ancestors()),
        Route::Options(methods) => answers.options(methods),
        Route::Info => answers.info(),
        Route::RawWebSocket
        | Route::Session {
            endpoint: Endpoint::WebSocket,
            ..
        } if !options.websocket => answers::not_found(),
        Route::RawWebSocket => {
            let framing = Framing::Raw;
            upgrade(front, &site.service, framing, headers, on_upgrade, peer)
        }
        Route::Session { name, endpoint } => match endpoint {
            Endpoint::WebSocket => {
                let framing = Framing::SockJs;
                upgrade(front, &site.service, framing, headers, on_upgrade, peer)
            }
            Endpoint::Receive(receiving) => {
                let query = request.uri.query().unwrap_or_default();
                let answer = receive(front, &site, name, receiving, query, headers, peer);
                answers.of_session(answer)
            }
            Endpoint::Send(sending) => {
                let key = (site.number, name.into());
                let answer = match front.admission().find_session(&key, headers, peer) {
                    Ok(session) => post(front, &session, sending, headers, body).await,
                    Err(refused) => refused.answer(),
                };
                answers.of_session(answer)
            }
        },
    }
}

/// A response of frames of the session with this name, which is created if there is none.
fn receive(
    front: &Front,
    site: &Site,
    name: &str,
    receiving: Receiving,
    query: &str,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Response {
    let wrapping = match Wrapping::new(receiving, query) {
        Ok(wrapping) => wrapping,
        Err(bad) => return answers::failure(&bad),
    };
    let key = (site.number, name.into());
    let found = front.polling().find_or_create(key, |key| {
        let admitted = front.admission().admit(headers, peer)?;
        let client_address = admitted.client_address;
        let counted = front.admission().admit_polling(client_address)?;
        let share = SessionShare::new(counted, admitted.seat);
        let shard = front.next_shard().ok_or(Refused::Busy)?;
        let session = PollingSession::new(
            key,
            share,
            shard.inbox(),
            front.settings().clients.queued_bytes,
        );
        if matches!(site.service.speaks, Speaks::Handler(_)) {
            // Its client need not send anything first.
            session.connected();
        }
        let arrival = Arrival {
            peer: Peer::Polling(session.clone()),
            service: site.service.clone(),
            client_address,
            headers: admitted.headers,
            for_meteor: admitted.for_meteor,
            seat: None,
            room: None,
        };
        match front.hand_over_to(shard, arrival) {
            true => Ok(session),
            false => Err(Refused::Busy),
        }
    });
    let (content_type, is_stream) = (wrapping.content_type(), !wrapping.is_single());
    let mut response = match found {
        Ok(Found::Living(session)) => {
            let number = front.polling().next_request();
            warp::reply::stream(Chunks::wait(session, number, wrapping)).into_response()
        }
        Ok(Found::Ended(close)) => {
            let pieces = [wrapping.prelude().into_bytes(), wrapping.wrap(&close)];
            let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
            let pieces = stream::iter(pieces.map(Ok::<_, Infallible>));
            warp::reply::stream(pieces).into_response()
        }
        Err(refused) => return refused.answer(),
    };
    answers::set(&mut response, header::CONTENT_TYPE, content_type);
    answers::set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if is_stream {
        // Otherwise nginx buffers frames until its buffer is full. A response of one frame ends
        // with it, so nginx passes it on at once.
        answers::set(&mut response, X_ACCEL_BUFFERING, "no");
    }
    response
}

/// Posts the messages of a body to their session.
async fn post(
    front: &Front,
    session: &Arc<PollingSession>,
    sending: Sending,
    headers: &HeaderMap,
    body: RequestBody,
) -> Response {
    let body = match body::read(headers, body, &front.settings().http).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let Ok(text) = std::str::from_utf8(&body) else {
        return answers::failure(&BadBody::NotJson);
    };
    let limits = front.json_limits();
    let messages = match sending {
        Sending::Jsonp if answers::is_form(headers) => sockjs::messages_of_form(text, limits),
        Sending::Jsonp | Sending::Xhr => sockjs::messages_of_body(text, limits),
    };
    let messages = match messages {
        Ok(messages) => messages,
        Err(bad) => return answers::failure(&bad),
    };
    if !messages.is_empty() {
        let posted = session.post(messages, text.len());
        match tokio::time::timeout(front.settings().http.post_timeout, posted).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return answers::not_found(),
            Err(_) => return answers::busy(),
        }
    }
    match sending {
        Sending::Xhr => answers::no_content(),
        Sending::Jsonp => answers::text("ok"),
    }
}
