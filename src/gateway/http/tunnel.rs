//! WebSockets that are not DDP's, such as hot reload's: bytes pass in both directions until either
//! end is done.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy, split};
use warp::http::{HeaderValue, Response, header};

use super::super::{Gateway, headers};
use super::pool::Connection;
use crate::telemetry::{GaugeGuard, LiveTunnel};

/// Begins a tunnel behind an answer with the status 101.
pub(super) fn begin(
    gateway: &Arc<Gateway>,
    mut answer: Response<Incoming>,
    connection: Connection,
    client: OnUpgrade,
) -> Response<()> {
    let server = hyper::upgrade::on(&mut answer);
    let (mut parts, _) = answer.into_parts();
    parts.headers = headers::without_hop_by_hop(&parts.headers);
    let headers = &mut parts.headers;
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let counted = GaugeGuard::<LiveTunnel>::new(&gateway.gauges);
    let draining = gateway.draining.clone();
    let tunnel = async move {
        // Until then the connection is hyper's, and ends when it is dropped.
        let ends = tokio::try_join!(client, server);
        drop(connection);
        match ends {
            Ok((client, server)) => carry(client, server).await,
            Err(error) => tracing::debug!(%error, "A tunnel to Meteor came to nothing."),
        }
        drop(counted);
    };
    let tunnel = async move {
        draining.run_until_cancelled(tunnel).await;
    };
    gateway.tasks.spawn_on(tunnel, &gateway.runtime);
    Response::from_parts(parts, ())
}

/// Carries bytes until one end sends no more, and the other has what it sent before. A direction
/// holds at most a buffer of 8 KiB.
async fn carry(client: Upgraded, server: Upgraded) {
    let (mut from_client, mut to_client) = split(TokioIo::new(client));
    let (mut from_server, mut to_server) = split(TokioIo::new(server));
    let ended = tokio::select! {
        ended = copy(&mut from_client, &mut to_server) => ended,
        ended = copy(&mut from_server, &mut to_client) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "A tunnel to Meteor ended with an error.");
    }
    // Fails for the end that is gone already.
    drop(tokio::join!(to_client.shutdown(), to_server.shutdown()));
}
