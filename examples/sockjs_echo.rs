//! SockJS apart from DDP: the services that sockjs-protocol's test suite expects, on
//! 127.0.0.1:$PORT (8081).
//!
//! `/echo` says what it hears, and ends a streaming response after 4,096 bytes;
//! `/disabled_websocket_echo` does so without WebSockets, `/cookie_needed_echo` with a cookie for
//! load balancers; `/close` closes at once.

use updraft::prelude::*;
use updraft::{SockJs, SockJsConnection};

async fn echo(mut connection: SockJsConnection) {
    while let Some(message) = connection.recv().await {
        connection.send(message);
    }
}

async fn close(connection: SockJsConnection) {
    connection.close(3000, "Go away!");
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt::init(); // RUST_LOG=debug says more
    updraft::log_panics();
    let port = std::env::var("PORT").unwrap_or_else(|_| "8081".into());
    let service = |prefix: &str| SockJs::at(prefix).response_limit(4096);
    let bound = Server::builder()
        .configure(|settings| settings.origins.allow_any = true)
        .sockjs_service(service("/echo"), echo)
        .sockjs_service(service("/close"), close)
        .sockjs_service(service("/disabled_websocket_echo").websocket(false), echo)
        .sockjs_service(service("/cookie_needed_echo").cookies(true), echo)
        .bind(format!("127.0.0.1:{port}"))
        .await?;
    println!("listening on http://{}", bound.local_addr());
    bound.serve().await
}
