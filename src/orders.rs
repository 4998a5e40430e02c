//! Orders about a user to whatever process the user is connected to: they go over the bus, on a channel of their own, to
//! every shard.

use updraft_protocol::ejson;
use updraft_protocol::ejson::Value;

use crate::bus::Message;
use crate::error::{Error, Result};
use crate::services::Services;

/// The channel of orders. No channel that `channel!` makes has a single colon in it.
pub(crate) const ORDERS: &str = "updraft:orders";

/// What is to be done about a user's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Close them.
    Disconnect { user: String },
    /// End their subscriptions to a publication.
    Stop { user: String, publication: String },
}

impl Order {
    /// Sends the order to all processes on the bus, this one too.
    pub(crate) async fn send(&self, services: &Services) -> Result<()> {
        let sent = services.channels.emit(ORDERS, &self.to_value()).await;
        sent.map_err(Error::not_emitted)
    }

    /// An order as it came; nothing for what is none, perhaps of another version.
    pub(crate) fn read(message: &Message) -> Option<Self> {
        let value = message.value();
        let order = value.as_object()?;
        let text = |name| Some(order.get(name)?.as_str()?.to_owned());
        let user = text("user")?;
        match order.get("order")?.as_str()? {
            "disconnect" => Some(Self::Disconnect { user }),
            "stop" => Some(Self::Stop {
                user,
                publication: text("publication")?,
            }),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Disconnect { user } => ejson!({ "order": "disconnect", "user": user }),
            Self::Stop { user, publication } => {
                ejson!({ "order": "stop", "user": user, "publication": publication })
            }
        }
    }
}
