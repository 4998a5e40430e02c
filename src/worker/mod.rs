//! Clients that work for a group: its members beyond this process.
//!
//! A subscription to the worker's publication is a member of the group, for as long as it lives and
//! over all its runs. Methods take the answers of its client.

mod answer;
mod delivery;
mod seat;
mod serving;
mod settings;

pub(crate) use answer::Answer;
pub use settings::WorkerSettings;

use std::any::Any;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use updraft_protocol::ejson::Value;
use updraft_topics::group::{Group, Order};

use self::seat::{Seat, SeatHolder, Seats};
use self::serving::Serving;
use crate::base::error::{Error, Result};
use crate::method::Call;
use crate::publication::{Subscription, Vent};

/// A publication, and the group to which its subscribers belong.
pub(crate) struct Worker {
    group: Group,
    authorize: AuthorizeHook,
    settings: WorkerSettings,
    /// Filled by subscriptions, and emptied when they end.
    seats: Seats,
}

type AuthorizeHook = Box<dyn Fn(Subscription) -> BoxFuture<'static, Result<()>> + Send + Sync>;

impl Worker {
    pub(crate) fn new<Fut>(
        group: &Group,
        authorize: impl Fn(Subscription) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            group: group.clone(),
            authorize: Box::new(move |subscription| Box::pin(authorize(subscription))),
            settings: WorkerSettings::default(),
            seats: Seats::default(),
        }
    }

    pub(crate) fn with_settings(self, settings: WorkerSettings) -> Self {
        Self { settings, ..self }
    }

    /// One run of a subscription: a new member, or the one that the run before it was.
    pub(crate) async fn work(self: &Arc<Self>, vent: Vent, credit: Option<Value>) -> Result<()> {
        (self.authorize)(vent.clone().into_subscription()).await?;
        let credit = self.credit(credit.as_ref());
        let credit = credit.map_err(|error| {
            error.because("the credit is no whole number of records that a client may have at once")
        })?;
        if let Some(observer) = vent.observer() {
            let observer: Arc<dyn Any + Send + Sync> = observer;
            if let Ok(holder) = observer.downcast::<SeatHolder>() {
                holder.next_run(vent);
                return Ok(());
            }
        }
        let connection = vent.connection().clone();
        let log_id = connection.log_id();
        let seat = Arc::new(Seat::new(vent.clone(), credit));
        self.seats.add(log_id, &seat);
        let member = self.group.member(&log_id.to_string());
        let serving = Serving::new(self.clone(), seat.clone(), log_id, member, credit);
        vent.observed_by(Arc::new(SeatHolder::new(seat)));
        connection.host().spawn(serving.run());
        Ok(())
    }

    /// A client answers a record that it has.
    pub(crate) async fn answer(&self, call: &Call, token: &str, answer: Answer) -> Result<()> {
        answer::answer(self, call, token, answer).await
    }

    /// How many records a client has at once.
    fn credit(&self, wanted: Option<&Value>) -> Result<usize> {
        let most = self.settings.most_credit;
        let credit = match wanted {
            None | Some(Value::Null | Value::Undefined) => self.settings.credit,
            Some(wanted) => {
                let whole = wanted.as_f64().filter(|credit| credit.fract() == 0.0);
                let whole = whole.filter(|credit| (1.0..=most as f64).contains(credit));
                whole.ok_or_else(Error::match_failed)? as usize
            }
        };
        // The client does not know that it must handle one after the other.
        Ok(if self.group.order() == Order::Total {
            1
        } else {
            credit
        })
    }
}
