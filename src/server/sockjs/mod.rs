//! SockJS over HTTP: what each of its URLs answers. Which request asks for what is decided in `updraft_protocol`; frames
//! come from the shard that owns the session.

mod answers;
mod body;
mod sites;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::stream;
use updraft_protocol::sockjs::{self, BadBody, Endpoint, Receiving, Route, Sending, Wrapping};
use warp::Reply;
use warp::http::{HeaderMap, Request, header};
use warp::reply::Response;

use super::accept::Front;
use super::admission::Refused;
use super::http::{upgrade, upgrade_of};
use super::incoming::Incoming;
use crate::shard::{Arrival, Framing, Peer};
use crate::sockjs::{Chunks, Found, Session};
use answers::Answers;
pub(super) use body::Limits as BodyLimits;
use sites::Site;
pub(super) use sites::{Place, Sites};

/// Answers a request below the prefix of a service.
pub(super) async fn answer(
    front: &Arc<Front>,
    site: Site,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Response {
    let on_upgrade = upgrade_of(&mut request);
    let (request, body) = request.into_parts();
    let headers = &request.headers;
    let options = &site.service.options;
    let answers = Answers::new(options, headers);
    let route = sockjs::route(request.method.as_str(), &site.path);
    // WebSockets and new sessions are looked at more closely below. The page for frames is judged by browsers, which know
    // who asks for it even when it comes out of their cache.
    if !matches!(route, Route::Greeting | Route::Iframe)
        && let Err(refused) = front.screen(headers)
    {
        return refused.answer();
    }
    match route {
        Route::NotFound => answers::not_found(),
        Route::MethodNotAllowed(methods) => answers::not_allowed(methods),
        Route::Greeting => answers::text("Welcome to SockJS!\n"),
        Route::Iframe => answers.iframe(front.frame_ancestors()),
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
                let answer = match front.polling().living(&key) {
                    Some(session) => post(front, &session, sending, headers, body).await,
                    None => answers::not_found(),
                };
                answers.of_session(answer)
            }
        },
    }
}

/// A response of frames: those of the session of this name, which is made where there is none.
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
    let mut refused = None;
    let found = front.polling().find_or_create(key, |key| {
        if !front.has_room() {
            return None;
        }
        let admitted = front.admit(headers, peer);
        let admitted = admitted.map_err(|reason| refused = Some(reason)).ok()?;
        let shard = front.next_shard()?;
        let session = Session::new(key, shard.inbox(), front.limits().posted);
        let session = Arc::new(session);
        let arrival = Arrival {
            peer: Peer::Polling(session.clone()),
            service: site.service.clone(),
            client_address: admitted.client_address,
            headers: admitted.headers,
            seat: admitted.seat,
            room: None,
        };
        front.hand_over_to(shard, arrival).then_some(session)
    });
    let content_type = wrapping.content_type();
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
        Err(_) => return refused.map_or_else(answers::busy, Refused::answer),
    };
    answers::set(&mut response, header::CONTENT_TYPE, content_type);
    answers::set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// Takes the messages of a body to their session.
async fn post(
    front: &Front,
    session: &Arc<Session>,
    sending: Sending,
    headers: &HeaderMap,
    body: Incoming,
) -> Response {
    let body = match body::read(headers, body, front.limits().bodies).await {
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
        match tokio::time::timeout(front.limits().posted_within, posted).await {
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
