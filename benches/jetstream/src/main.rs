//! Workers on a stream of JetStream, beside which groups are measured. The bench of topics starts
//! this program and gives it commands, each a line of words. Each is answered with a line, or with
//! several, of which the last is `done`.

#![allow(
    clippy::disallowed_methods,
    reason = "it measures how long things take, and ends with its process"
)]

mod order;
mod stream;
mod times;
mod work;

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use async_nats::Client;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// Whatever has kept a command from being carried out.
type Failure = Box<dyn Error + Send + Sync>;

/// One thread, as groups have in the bench.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("where is NATS?")?;
    let client = async_nats::connect(&url).await?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        println!("{}", obey(&client, &url, &words).await?);
    }
    Ok(())
}

/// Carries out a command, and says what it answers.
async fn obey(client: &Client, url: &str, words: &[&str]) -> Result<String, Failure> {
    match *words {
        ["create", storage, order, ack_wait] => {
            let ack_wait = Duration::from_millis(number(ack_wait)?);
            stream::create(client, storage.parse()?, order.parse()?, ack_wait).await?;
            Ok("done".into())
        }
        ["fill", count, keys, size] => {
            stream::fill(client, number(count)?, number(keys)?, number(size)?).await?;
            Ok("done".into())
        }
        ["work", count, members, at_once, acks] => {
            let (count, members) = (number(count)?, number(members)?);
            let handled = work::work_off(client, count, members, number(at_once)?, acks.parse()?);
            Ok(format!("{}", handled.await?))
        }
        ["order", count, members, at_once, fails, delay, stands_still] => {
            let plan = order::Plan {
                count: number(count)?,
                members: number(members)?,
                at_once: number(at_once)?,
                fails: number(fails)?,
                delay: Some(Duration::from_millis(number(delay)?)).filter(|it| !it.is_zero()),
                stands_still: number(stands_still)?,
            };
            order::run(client, plan).await?;
            Ok("done".into())
        }
        ["leave", count] => Ok(format!("{}", times::leave(client, number(count)?).await?)),
        ["crash", count] => Ok(format!(
            "{}",
            times::crash(client, url, number(count)?).await?
        )),
        _ => Err(format!("no command: {words:?}").into()),
    }
}

fn number<T>(word: &str) -> Result<T, Failure>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    Ok(word.parse()?)
}
