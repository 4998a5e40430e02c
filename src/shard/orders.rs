//! Orders about a user, for the processes that the user is connected to. They go over the bus to
//! every shard, on an internal channel that no program can name.
//!
//! On Redis that channel is `updraft:orders`, behind the prefix. An order is an object:
//!
//! ```json
//! {"order":"disconnect","user":"ID"}
//! {"order":"stop","user":"ID","publication":"NAME"}
//! ```
//!
//! With a secret, the order ends with two more members: `"at"`, its time in milliseconds since
//! 1970, and `"mac"`, the base64 of an HMAC-SHA-256. The signed text is the order without `"mac"`,
//! its members in this order and printed as JavaScript prints them. Orders older than a minute are
//! refused, so that nobody can record an order and send it again later.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use updraft_bus::internal::InternalChannel;
use updraft_bus::{Channels, Message};
use updraft_protocol::ejson::{self, Date, Object, Value};

use crate::base::ThrottledLog;
use crate::base::clock;
use crate::base::error::{Error, Result};

/// Sends and accepts orders.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    secret: Option<Secret>,
    refused: ThrottledLog,
}

/// What to do with a user's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Close them.
    Disconnect { user: String },
    /// End their subscriptions to a publication.
    Stop { user: String, publication: String },
}

/// The key that everybody who may send orders shares.
pub(crate) struct Secret(Hmac<Sha256>);

/// Why an order is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderRefusal {
    /// Not an order that this version knows.
    Unknown,
    /// Not signed, or signed with another secret.
    Forged,
    /// Sent again, or the clocks differ.
    Late,
}

/// The minimum length of a secret, in bytes.
const MIN_SECRET: usize = 32;

/// How long an order is valid, and how far clocks may differ, in milliseconds.
const VALID_FOR_MILLIS: u64 = 60_000;

impl Orders {
    /// Signs orders, and accepts only signed ones.
    pub(crate) fn signed(secret: Secret) -> Self {
        Self {
            secret: Some(secret),
            refused: ThrottledLog::default(),
        }
    }

    /// Sends the order to all processes on the bus, including this one.
    pub(crate) async fn give(&self, order: &Order, channels: &Channels) -> Result<()> {
        let order = self.write(order, clock::date());
        let sent = channels.emit_internally(InternalChannel::Orders, &order);
        sent.await.map_err(Error::not_emitted)
    }

    /// Reads and checks an order. Returns `None`, and logs the reason, if it is refused.
    pub(crate) fn accept(&self, message: &Message) -> Option<Order> {
        match self.read(message.value(), clock::date()) {
            Ok(order) => Some(order),
            Err(refusal) => {
                if let Some(left_out) = self.refused.left_out(clock::now()) {
                    tracing::warn!(%refusal, left_out, "An order from the bus is refused.");
                }
                None
            }
        }
    }

    fn write(&self, order: &Order, now: Date) -> Value {
        let mut object = order.to_object();
        if let Some(secret) = &self.secret {
            object.insert("at", now.millis().unwrap_or_default() as f64);
            let mac = secret.mac(&object).finalize().into_bytes();
            object.insert("mac", STANDARD.encode(mac));
        }
        object.into()
    }

    fn read(&self, value: &Value, now: Date) -> Result<Order, OrderRefusal> {
        let order = Order::read(value).ok_or(OrderRefusal::Unknown)?;
        let Some(secret) = &self.secret else {
            return Ok(order);
        };
        let signed = || {
            let at = Date::from_millis(value.get("at")?.as_f64()?).millis()?;
            let mac = STANDARD.decode(value.get("mac")?.as_str()?).ok()?;
            Some((at, mac))
        };
        let (at, mac) = signed().ok_or(OrderRefusal::Forged)?;
        let mut object = order.to_object();
        object.insert("at", at as f64);
        let is_genuine = secret.mac(&object).verify_slice(&mac).is_ok();
        if !is_genuine {
            return Err(OrderRefusal::Forged);
        }
        match now.millis() {
            Some(now) if now.abs_diff(at) <= VALID_FOR_MILLIS => Ok(order),
            _ => Err(OrderRefusal::Late),
        }
    }
}

impl Order {
    fn read(value: &Value) -> Option<Self> {
        let text = |name| Some(value.get(name)?.as_str()?.to_owned());
        let user = text("user")?;
        match value.get("order")?.as_str()? {
            "disconnect" => Some(Self::Disconnect { user }),
            "stop" => Some(Self::Stop {
                user,
                publication: text("publication")?,
            }),
            _ => None,
        }
    }

    fn to_object(&self) -> Object {
        let mut object = Object::new();
        match self {
            Self::Disconnect { user } => {
                object.insert("order", "disconnect");
                object.insert("user", user.as_str());
            }
            Self::Stop { user, publication } => {
                object.insert("order", "stop");
                object.insert("user", user.as_str());
                object.insert("publication", publication.as_str());
            }
        }
        object
    }
}

impl Secret {
    /// A secret of at least 32 bytes; `None` for a shorter one.
    pub(crate) fn new(secret: &[u8]) -> Option<Self> {
        let keyed = Hmac::new_from_slice(secret).ok().map(Self);
        keyed.filter(|_| secret.len() >= MIN_SECRET)
    }

    fn mac(&self, order: &Object) -> Hmac<Sha256> {
        let text = ejson::to_ejson(&Value::Object(order.clone()));
        self.0.clone().chain_update(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Display for OrderRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "it is unknown",
            Self::Forged => "it is not signed with our secret",
            Self::Late => "its time is more than a minute off; do the clocks agree?",
        })
    }
}

#[cfg(test)]
mod tests {
    use updraft_protocol::ejson;

    use super::*;

    const SECRET: &[u8] = b"a secret of at least 32 characters";

    fn stop() -> Order {
        Order::Stop {
            user: "al\"ice\u{2028}é".into(),
            publication: "secrets".into(),
        }
    }

    fn signed(secret: &[u8]) -> Orders {
        Orders::signed(Secret::new(secret).unwrap())
    }

    fn at(millis: u64) -> Date {
        Date::from_millis(millis as f64)
    }

    #[test]
    fn found_201_orders_have_a_fixed_shape() {
        let alice = "alice".to_owned();
        let disconnect = Order::Disconnect {
            user: alice.clone(),
        };
        let publication = "secrets".to_owned();
        let stop = Order::Stop {
            user: alice,
            publication,
        };
        let text = |orders: &Orders, order| ejson::to_ejson(&orders.write(order, at(5)));
        let plain = Orders::default();
        let begun = r#"{"order":"disconnect","user":"alice""#;
        assert_eq!(text(&plain, &disconnect), format!("{begun}}}"));
        let begun_stop = r#"{"order":"stop","user":"alice","publication":"secrets""#;
        assert_eq!(text(&plain, &stop), format!("{begun_stop}}}"));
        // From another implementation: printf %s '{"order":…,"at":5}' | openssl dgst -sha256 -hmac
        // … -binary | base64
        let mac = "tPJEVFjlA1Rcz/VKTAINxwJiP3hRvg4Ei02lp9Rj8sw=";
        let expected = format!(r#"{begun},"at":5,"mac":"{mac}"}}"#);
        assert_eq!(text(&signed(SECRET), &disconnect), expected);
    }

    #[test]
    fn found_201_with_a_secret_only_signed_orders_are_taken() {
        let (orders, given) = (signed(SECRET), stop());
        let written = orders.write(&given, at(1_000_000));
        assert_eq!(orders.read(&written, at(1_000_000)), Ok(given.clone()));
        // Without one, whoever may publish may give orders.
        assert_eq!(Orders::default().read(&written, at(0)), Ok(given.clone()));
        let unsigned = Orders::default().write(&given, at(1_000_000));
        let other = signed(b"another secret of 32 characters!!").write(&given, at(1_000_000));
        let mut forged = vec![unsigned, other];
        for (member, value) in [
            ("user", Value::from("bob")),
            ("publication", Value::from("news")),
            ("at", Value::from(1_000_001.0)),
            ("at", Value::from("1000000")),
            ("mac", Value::from("")),
            ("mac", Value::Null),
        ] {
            let mut changed = written.clone();
            changed.as_object_mut().unwrap().insert(member, value);
            forged.push(changed);
        }
        for forged in forged {
            let read = orders.read(&forged, at(1_000_000));
            assert_eq!(read, Err(OrderRefusal::Forged), "{forged:?}");
        }
    }

    #[test]
    fn found_201_a_signed_order_cannot_be_given_again_later() {
        let (orders, given) = (signed(SECRET), stop());
        let written = orders.write(&given, at(1_000_000));
        for now in [940_000, 1_060_000] {
            assert_eq!(orders.read(&written, at(now)), Ok(given.clone()));
        }
        for now in [939_999, 1_060_001] {
            assert_eq!(orders.read(&written, at(now)), Err(OrderRefusal::Late));
        }
        assert_eq!(
            orders.read(&written, Date::INVALID),
            Err(OrderRefusal::Late)
        );
    }

    #[test]
    fn found_201_a_short_secret_is_none() {
        assert!(Secret::new(&[0; 31]).is_none());
        assert!(Secret::new(&[0; 32]).is_some());
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for order in [
            ejson!(null),
            ejson!("disconnect"),
            ejson!({ "order": "disconnect" }),
            ejson!({ "order": "disconnect", "user": 5 }),
            ejson!({ "order": "stop", "user": "alice" }),
            ejson!({ "order": "shave", "user": "alice" }),
        ] {
            let read = Orders::default().read(&order, at(0));
            assert_eq!(read, Err(OrderRefusal::Unknown), "{order:?}");
        }
    }
}
