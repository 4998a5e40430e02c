//! The methods by which a client answers.

use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use updraft_topics::TopicError;
use updraft_topics::group::Token;

use super::Worker;
use crate::base::error::{Error, Result};
use crate::method::Call;

/// The longest reason that is passed on, in characters.
const LONGEST_REASON: usize = 1000;

/// What a client says of a record that it has.
pub(crate) enum Answer {
    /// It is handled.
    Ack,
    /// It was not, and comes again: after this time, if there is one.
    Nack {
        delay: Option<Duration>,
        reason: Option<String>,
    },
    /// It is handled for longer.
    Extend,
    /// It can never be handled.
    Reject(Option<String>),
}

impl Answer {
    /// It was not handled, with the delay in milliseconds.
    pub(crate) fn nack(delay: Option<f64>, reason: Option<String>) -> Result<Self> {
        let delay = delay.map(|delay| Duration::try_from_secs_f64(delay / 1000.0));
        let delay = delay.transpose().map_err(|_| {
            Error::match_failed().because("parameter 2: the delay is no time in milliseconds")
        })?;
        Ok(Self::Nack { delay, reason })
    }
}

pub(super) async fn answer(
    worker: &Worker,
    call: &Call,
    token: &str,
    answer: Answer,
) -> Result<()> {
    let token: Token = token.parse()?;
    if !worker.seats.have(call.connection().log_id(), &token) {
        return Err(TopicError::Stale.into());
    }
    let mut answering = pin!(pass_on(worker, &token, answer));
    // The answer is on its way before the client's next message begins, which may end the
    // subscription.
    tokio::select! {
        biased;
        outcome = &mut answering => return outcome,
        () = ready(()) => {}
    }
    call.unblock();
    answering.await
}

async fn pass_on(worker: &Worker, token: &Token, answer: Answer) -> Result<()> {
    let group = &worker.group;
    match answer {
        Answer::Ack => group.ack(token).await?,
        Answer::Nack { delay, reason } => {
            let reason = shortened(reason, "its client gave it back");
            group.fail(token, delay, &reason).await?;
        }
        Answer::Extend => group.extend(token).await?,
        Answer::Reject(reason) => {
            let reason = shortened(reason, "its client rejected it");
            group.reject(token, &reason).await?;
        }
    }
    Ok(())
}

fn shortened(reason: Option<String>, otherwise: &str) -> String {
    let Some(reason) = reason else {
        return otherwise.to_owned();
    };
    reason.chars().take(LONGEST_REASON).collect()
}
