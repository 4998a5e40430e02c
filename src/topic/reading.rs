//! The publication `topic`: a client follows a topic that it names.

use serde::Deserialize;
use updraft_protocol::ejson::{Object, Value};
use updraft_topics::{Message, OnLoss};

use super::{Exposed, ExposedTopics};
use crate::base::error::{Error, Result};
use crate::mapping::{Event, insert_details, insert_payload};
use crate::publication::Vent;

/// What a client asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReadParams {
    topic: String,
    from: Option<Value>,
    on_gap: Option<String>,
    on_reset: Option<String>,
}

pub(crate) async fn read(topics: &ExposedTopics, vent: Vent, read: ReadParams) -> Result<()> {
    let ReadParams {
        topic,
        from,
        on_gap,
        on_reset,
    } = read;
    let after_gap = policy(on_gap.as_deref())?;
    let after_reset = policy(on_reset.as_deref())?;
    let (exposed, authorize) = topics.find(&topic, |access| access.read.clone())?;
    authorize(vent.clone().into_subscription()).await?;
    vent.follow(exposed.topic(), from)
        .map_shared(exposed.clone(), event)
        .after_gap(after_gap)
        .after_reset(after_reset)
        .await
}

fn policy(name: Option<&str>) -> Result<OnLoss> {
    Ok(match name {
        None | Some("fail") => OnLoss::Fail,
        Some("earliest") => OnLoss::Earliest,
        Some("latest") => OnLoss::Latest,
        Some("snapshot") => OnLoss::Snapshot,
        Some(_) => return Err(Error::match_failed()),
    })
}

/// A record as clients get it: its payload, if it has one, and what goes with that.
fn event(record: &Message, exposed: &Exposed) -> Result<Event> {
    let mut event = Object::default();
    match &exposed.access().transform {
        Some(transform) if record.payload().is_some() => match transform(record)? {
            Some(payload) => {
                event.insert("payload", payload);
            }
            None => return Ok(Event::none()),
        },
        _ => insert_payload(&mut event, record)?,
    }
    insert_details(&mut event, record);
    Event::always(Value::Object(event))
}
