//! A webhook that reaches the browser: a payment provider posts to a route of this server, and the
//! client that waits for that payment is told at once.
//!
//! ```text
//! WEBHOOK_SECRET=change-me cargo run --release --example payment_status
//! curl -i http://127.0.0.1:3000/webhooks/payments -H 'x-webhook-secret: change-me' \
//!      -d '{"paymentId":"p1","status":"paid"}'
//! ```
//!
//! Nothing is stored: once `ready`, a client asks for the present state by a method of yours, and
//! hears of every change.

use std::env;

use bytes::Bytes;
use updraft::prelude::*;
use updraft::warp::http::StatusCode;
use updraft::warp::{self, Filter};
use updraft::{ErrorKind, Handle};

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    payment_id: String,
    #[serde(default)]
    status: String,
}

/// Every change of one payment. A real one asks first whether it is the payment of
/// `vent.user_id()`.
async fn payment_status(vent: Vent, Payment { payment_id, .. }: Payment) -> Result<()> {
    vent.relay(channel!["payments", payment_id, "status"]).await
}

/// Takes what the provider says. It hears 2xx only once the message is out; otherwise it says it
/// again.
async fn webhook(server: Handle, secret: &str, given: Option<String>, body: Bytes) -> StatusCode {
    match given {
        None => return StatusCode::UNAUTHORIZED,
        Some(given) if !same(given.as_bytes(), secret.as_bytes()) => return StatusCode::FORBIDDEN,
        Some(_) => {}
    }
    let Ok(payment) = serde_json::from_slice::<Payment>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let channel = channel!["payments", payment.payment_id, "status"];
    match server.emit(channel, payment).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(error) if error.kind() == ErrorKind::Client => StatusCode::BAD_REQUEST,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Compares in a time that does not tell how much of the secret was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt::init(); // RUST_LOG=debug says more
    updraft::log_panics();
    let unset = |_| Error::configuration("WEBHOOK_SECRET is not set; the provider shows its value");
    let secret = env::var("WEBHOOK_SECRET").map_err(unset)?;
    let secret: &'static str = secret.leak(); // as long as the program
    let route = move |server: Handle| {
        let route = warp::path!("webhooks" / "payments")
            .and(warp::post())
            .and(warp::header::optional("x-webhook-secret"))
            .and(warp::body::content_length_limit(16 * 1024))
            .and(warp::body::bytes())
            .then(move |given, body| webhook(server.clone(), secret, given, body));
        warp::service(route)
    };
    let mut server = Server::builder()
        .vent("paymentStatus", payment_status)
        .route_with("/webhooks", route);
    if let Ok(url) = env::var("REDIS_URL") {
        server = server.bus(Redis::connect(&url).await?);
    }
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let bound = server.bind(listen).await?;
    println!("Webhook: http://{}/webhooks/payments", bound.local_addr());
    bound.serve().await
}
