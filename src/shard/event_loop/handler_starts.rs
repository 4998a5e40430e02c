//! The handlers that sessions ask for. Those asked for in one turn start together, so that the
//! runtime is woken once.

use std::sync::Arc;
use std::time::Duration;

use updraft_protocol::ejson::Value;
use updraft_protocol::message::WireError;
use updraft_protocol::session::{Output, Run, Session};

use super::shard_context::ShardContext;
use crate::handler::{Host, Starts};
use crate::publication::{Begun, Publication, Turn};
use crate::shard::client::{Client, Running};
use crate::telemetry::GaugeGuard;

/// Up to this many subscriptions of a client, memory is allocated one by one: most clients have
/// few, and there are many clients.
const FEW_SUBSCRIPTIONS: usize = 4;

#[derive(Default)]
pub(super) struct HandlerStarts {
    /// Filled by `publish` and `call`, emptied by `begin`.
    starts: Starts,
    /// The latest publication that a session has asked for in this turn.
    begun: Option<Begun>,
}

impl HandlerStarts {
    /// Starts the handlers that were asked for so far.
    pub(super) fn begin(&mut self, host: &Arc<Host>) {
        self.starts.begin(host);
    }

    /// Later requests belong to another turn: no order is kept between them and the earlier ones.
    pub(super) fn end_of_turn(&mut self) {
        self.begun = None;
    }

    /// Starts the handler of a publication, unless a rate limit refuses it.
    pub(super) fn publish(
        &mut self,
        client: &mut Client,
        shard: &ShardContext,
        (run, publication, params): (Run, usize, Vec<Value>),
        out: &mut Output,
    ) {
        let shared = &shard.shared;
        let caller = || client.context.caller(client.user.as_deref());
        // While the user changes, subscriptions start again without a request from the client.
        let wait = if client.change.is_none() {
            let limiter = &shared.host.limiter;
            limiter.subscribe(publication, caller, shard.instant())
        } else {
            None
        };
        if let Some(wait) = wait {
            let publication = shared.publications.get(publication);
            let what = ("publication", publication.map_or("", Publication::name));
            return refuse_request(client, shard, what, wait, |session, error| {
                session.published(run, Err(error), shard.now, out);
            });
        }
        let Some(publication) = shared.publications.get(publication) else {
            return;
        };
        let session = client.session.ddp();
        if let Some(encoding) = session.and_then(|session| session.encoding(run)) {
            publication.log_encoding(encoding, shared.session.settings.encoding);
        }
        let (turn, begun) = Turn::after(self.begun.take());
        self.begun = Some(begun);
        let (context, user) = (client.context.clone(), client.user.clone());
        let change = client.change.as_deref();
        let continuation = change.and_then(|change| change.continuation(run).cloned());
        let given = (params, continuation);
        let (subscription, start) = publication.prepare(context, user, run, given, turn);
        if client.session.is_parked() {
            subscription.client_is_away(true);
        }
        let change = client.change.as_deref_mut();
        if let Some(observer) = change.and_then(|change| change.take_observer(run)) {
            subscription.observed_by(observer);
        }
        self.starts.push(start);
        if client.subscriptions.len() < FEW_SUBSCRIPTIONS {
            client.subscriptions.reserve_exact(1);
        }
        let counted = GaugeGuard::new(&shared.host.gauges);
        let running = Running::new(run, subscription, counted);
        client.subscriptions.push(running);
    }

    /// Starts the handler of a method, unless a rate limit refuses it.
    pub(super) fn call(
        &mut self,
        client: &mut Client,
        shard: &ShardContext,
        (run, method, params): (Run, usize, Vec<Value>),
        seed: Option<String>,
        out: &mut Output,
    ) {
        let shared = &shard.shared;
        let caller = || client.context.caller(client.user.as_deref());
        if let Some(wait) = shared.host.limiter.call(method, caller, shard.instant()) {
            let what = ("method", shared.methods.name(method).unwrap_or_default());
            return refuse_request(client, shard, what, wait, |session, error| {
                session.returned(run, Err(error), shard.now, out);
            });
        }
        let (context, user) = (client.context.clone(), client.user.clone());
        let call = shared
            .methods
            .prepare(method, context, user, run, params, seed);
        if let Some(call) = call {
            self.starts.push(call);
        }
    }
}

/// Answers a request that a rate limit refuses until `wait` has passed.
fn refuse_request(
    client: &mut Client,
    shard: &ShardContext,
    (what, name): (&'static str, &str),
    wait: Duration,
    answer: impl FnOnce(&mut Session, WireError),
) {
    let error = client.context.limited(what, name, wait, shard.instant());
    if let Some(session) = client.session.ddp_mut() {
        answer(session, error);
    }
}
