//! Requests that are not this server's: passed to Meteor, and its answers to the client. Bodies of
//! any size stream in both directions; nothing is held but what a socket's buffer holds.
//!
//! A request takes a connection that waits ([`pool`]) or opens one. A connection that waited may
//! end just when it is used: then the request is sent once more, if Meteor has got nothing of it or
//! may get it twice.

mod cookie;
mod pages;
mod pool;
mod request;
mod response;
mod settings;
mod tunnel;
mod upload_socket;

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use warp::http::{Method, Request, Response, StatusCode};

pub(super) use self::cookie::StickyCookies;
use self::pages::Which;
use self::pool::Connection;
pub(super) use self::pool::Pool;
use self::request::{BoxError, Head, Upload};
use self::response::Exchange;
pub use self::settings::PassedHttpSettings;
use super::Gateway;
use super::handshake::Refusal;
use super::headers;
use crate::base::clock;
use crate::transport::metered::Activity;

/// How long an answer about a broken request waits until its body is given back.
const GIVEN_BACK: Duration = Duration::from_secs(1);

/// The body of an answer.
type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// Who sends a request.
#[derive(Debug)]
pub(crate) struct Requester {
    /// The other end of the socket.
    pub(crate) peer: IpAddr,
    /// Whether that is a proxy whose word counts.
    pub(crate) is_trusted: bool,
    /// The client, if it is known.
    pub(crate) address: Option<IpAddr>,
    /// Its connection.
    pub(crate) activity: Arc<Activity>,
}

/// Why a request has no answer of Meteor.
enum Failure {
    /// The server cannot be reached, and has got nothing.
    Refused(Refusal),
    /// It has broken off before its answer.
    Broken(hyper::Error),
    /// It makes no progress.
    Stalled,
}

impl Gateway {
    /// Whether requests that are not this server's go to Meteor.
    pub(crate) fn passes_http(&self) -> bool {
        self.passes_http
    }

    /// Passes a request to Meteor.
    pub(crate) async fn pass<B>(
        self: &Arc<Self>,
        mut request: Request<B>,
        from: Requester,
    ) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if [Method::CONNECT, Method::TRACE].contains(request.method()) {
            return boxed(pages::not_allowed());
        }
        let on_upgrade: Option<OnUpgrade> = request.extensions_mut().remove();
        let (parts, body) = request.into_parts();
        let Requester {
            peer, is_trusted, ..
        } = from;
        let headers = headers::passed(&parts.headers, peer, self.is_encrypted, is_trusted);
        let head = Head::of(&parts, headers);
        let (upload, state) = Upload::new(body, &head);
        let named = self.cookies.named(&head.headers);
        let sent = self.send(&head, upload, named, &from);
        let (number, connection, answer) = match sent.await {
            Ok(sent) => sent,
            Err((number, failure)) => {
                // So that what is left of the body is read before the answer.
                drop(tokio::time::timeout(GIVEN_BACK, state.over()).await);
                if state.is_broken() {
                    return boxed(pages::bad_request());
                }
                return boxed(self.failed(number, &failure));
            }
        };
        let has_upgraded = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        match on_upgrade.filter(|_| head.is_websocket) {
            Some(client) if has_upgraded => {
                let answer = tunnel::begin(self, answer, connection, client);
                answer.map(|()| empty())
            }
            _ if has_upgraded => {
                self.http_failed(number, &"it speaks another protocol unasked");
                boxed(pages::not_there(self.which(number)))
            }
            _ => {
                let exchange = Exchange {
                    gateway: self.clone(),
                    number,
                    connection,
                    upload: state,
                    activity: from.activity,
                };
                boxed(response::passed(answer, exchange, named.is_some()))
            }
        }
    }

    /// Sends a request to the first server that takes it, and waits for the head of its answer.
    async fn send(
        self: &Arc<Self>,
        head: &Head,
        upload: Upload,
        named: Option<usize>,
        from: &Requester,
    ) -> Result<(usize, Connection, Response<Incoming>), (usize, Failure)> {
        let mut upload = Some(upload);
        let mut last = (0, Failure::Stalled);
        let (limit, left_out) = (self.settings.http.progress_timeout, self.settings.left_out);
        let servers = self.servers_for(from.address, named);
        let final_server = servers.last().copied();
        let mut is_tried = false;
        for number in servers {
            let may_try = self.upstreams.may_try(number, left_out, clock::now());
            // Somebody has to answer the request.
            let is_needed = !is_tried && Some(number) == final_server;
            if !may_try && !is_needed {
                continue;
            }
            is_tried = true;
            let sent = tokio::select! {
                sent = self.send_to(number, head, &mut upload) => sent,
                () = from.activity.stalled(limit) => Err(Failure::Stalled),
            };
            match sent {
                Ok((connection, answer)) => {
                    self.http_accepted(number);
                    return Ok((number, connection, answer));
                }
                Err(Failure::Refused(refusal)) => {
                    self.refused(number, &refusal);
                    last = (number, Failure::Refused(refusal));
                }
                Err(failure) => return Err((number, failure)),
            }
        }
        Err(last)
    }

    /// Sends a request to one server. `upload` is taken when nothing of it can be sent again.
    async fn send_to(
        &self,
        number: usize,
        head: &Head,
        upload: &mut Option<Upload>,
    ) -> Result<(Connection, Response<Incoming>), Failure> {
        let Some(address) = self.upstreams.address(number) else {
            return Err(Failure::Refused(Refusal::Silent));
        };
        // One that has waited is tried once; what is sent again goes over a fresh one.
        let mut waiting = self.pool.take(number);
        loop {
            let is_fresh = waiting.is_none();
            let mut connection = match waiting.take() {
                Some(connection) => connection,
                None => {
                    let connected = self.pool.connect(address);
                    let limit = self.settings.connect_timeout;
                    let connected = tokio::time::timeout(limit, connected).await;
                    let connected = connected.unwrap_or(Err(Refusal::Silent));
                    connected.map_err(Failure::Refused)?
                }
            };
            let body = upload.take().unwrap_or_else(Upload::empty);
            let has_body = !body.is_end_stream();
            let request = head.request(address, body);
            let mut error = match connection.sender.try_send_request(request).await {
                Ok(answer) => return Ok((connection, answer)),
                Err(error) => error,
            };
            let unsent = error.take_message();
            let is_unsent = unsent.is_some();
            let can_repeat = is_unsent || !has_body && head.is_safe();
            *upload = unsent.map(Request::into_body);
            match error.into_error() {
                _ if can_repeat && !is_fresh => {}
                error if is_unsent => return Err(Failure::Refused(error.into())),
                error => return Err(Failure::Broken(error)),
            }
        }
    }

    /// The servers to try, in this order. If all have refused lately, the first is tried
    /// nevertheless: it may be back.
    fn servers_for(&self, client: Option<IpAddr>, named: Option<usize>) -> Vec<usize> {
        let left_out = self.settings.left_out;
        let now = clock::now();
        let servers = self.upstreams.candidates(client, named, left_out, now);
        if servers.is_empty() {
            let all = self
                .upstreams
                .candidates(client, named, Duration::ZERO, now);
            return all.into_iter().take(1).collect();
        }
        servers
    }

    fn http_accepted(&self, number: usize) {
        if self.upstreams.accepted(number) {
            self.log_accepted(number);
        }
    }

    fn failed(&self, number: usize, failure: &Failure) -> Response<http_body_util::Full<Bytes>> {
        let which = self.which(number);
        match failure {
            Failure::Refused(Refusal::Silent) => {
                self.http_failed(number, &"it does not accept a connection in time");
                pages::no_answer(which)
            }
            Failure::Refused(refusal) => {
                self.http_failed(number, refusal);
                pages::not_there(which)
            }
            Failure::Broken(error) => {
                self.http_failed(
                    number,
                    &format_args!("it breaks off before its answer: {error}"),
                );
                pages::not_there(which)
            }
            Failure::Stalled => {
                self.http_failed(number, &"it does not answer in time");
                pages::no_answer(which)
            }
        }
    }

    fn which(&self, number: usize) -> Which {
        let of = self.upstreams.count();
        Which { number, of }
    }

    /// Counts a request that Meteor has not answered to its end, and says why in the log.
    pub(super) fn http_failed(&self, number: usize, why: &dyn Display) {
        let failed = &self.gauges.failed_requests;
        failed.fetch_add(1, Ordering::Relaxed);
        let address = self.upstreams.address(number);
        if let (Some(address), Some(left_out)) = (address, self.http_log.left_out(clock::now())) {
            let number = number.saturating_add(1);
            tracing::warn!(%address, number, left_out, "A request to Meteor failed: {why}.");
        }
    }
}

fn boxed<B>(response: Response<B>) -> Response<AnswerBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

fn empty() -> AnswerBody {
    let empty = http_body_util::Empty::new();
    empty.map_err(|never| match never {}).boxed_unsync()
}
