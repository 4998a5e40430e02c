//! Emits one message to the listeners of its channel on this Redis:
//!
//! ```sh
//! cargo run -p updraft-bus --example emitter -- redis://127.0.0.1 threads 7 hello
//! ```

use updraft_bus::{Emitter, channel};
use updraft_protocol::ejson;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, kind, id, message] = arguments.as_slice() else {
        return Err("usage: emitter URL KIND ID MESSAGE".into());
    };
    let emitter = Emitter::connect(url).await?;
    // A part cannot choose another channel, whoever supplies it.
    let channel = channel![kind, id, "new_message"];
    emitter
        .emit(channel, ejson!({ "message": message.as_str() }))
        .await?;
    Ok(())
}
