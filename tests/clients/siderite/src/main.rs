//! siderite 0.1.2, driven by `remote.mjs`, which says what the lines mean. It calls methods, passes
//! on the documents of a publication, and gets every event of a Vent that is a collection.
//!
//! Every event: `connection.recv()`, which passes on all that comes for subscriptions. The encoding
//! of redis-oplog ends its connection. It discards the first two frames unread, so it needs a
//! server that greets: without a greeting `connect` waits for the first ping. It decodes nothing
//! and does not come back by itself: when `recv` ends, the program makes a new connection, and
//! subscribes again.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use siderite::connection::RPCError;
use siderite::{Connection, Handle, ServerMessage};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::task::JoinSet;
use tokio::time::sleep;

#[derive(Deserialize)]
#[serde(tag = "msg", rename_all = "camelCase")]
enum Command {
    Method {
        id: String,
        method: String,
        params: Vec<Value>,
    },
    Sub {
        id: String,
        name: String,
        params: Vec<Value>,
    },
    Unsub {
        id: String,
    },
}

// One thread: tasks begin in the order in which they are spawned, so calls are sent in the order of
// the commands.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("no URL is given")?;
    let mut commands = BufReader::new(stdin()).lines();
    // The first is `connect`.
    commands.next_line().await?;
    let mut connection = connect(&url).await;
    let mut asked = JoinSet::new();
    loop {
        tokio::select! {
            message = connection.recv() => match message {
                Some(message) => report(&message),
                None => connection = connect(&url).await,
            },
            line = commands.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                asked.spawn(obey(serde_json::from_str(&line)?, connection.handle()));
            }
            Some(done) = asked.join_next() => done??,
        }
    }
}

async fn connect(url: &str) -> Connection {
    loop {
        match Connection::connect(url).await {
            Ok(connection) => {
                tell(&json!({ "msg": "connected" }));
                return connection;
            }
            Err(error) => eprintln!("siderite does not connect: {error}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn obey(command: Command, mut handle: Handle) -> Result<()> {
    match command {
        Command::Method { id, method, params } => {
            tell(&match handle.call(method, params).await? {
                Ok(result) => json!({ "msg": "result", "id": id, "result": result }),
                Err(RPCError(error)) => json!({ "msg": "result", "id": id, "error": error }),
            });
        }
        Command::Sub { id, name, params } => handle.subscribe(id, name, params).await?,
        Command::Unsub { id } => handle.unsubscribe(id).await?,
    }
    Ok(())
}

fn report(message: &ServerMessage) {
    match message {
        ServerMessage::Ready { subs } => {
            for id in subs {
                tell(&json!({ "msg": "ready", "id": id }));
            }
        }
        // The lines have the words of DDP, and so have siderite's types.
        other => tell(&json!(other)),
    }
}

fn tell(line: &Value) {
    println!("{line}");
}
