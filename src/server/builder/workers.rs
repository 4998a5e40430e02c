//! Registers the publication and the methods by which clients work for a group.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use updraft_topics::group::Group;

use super::Builder;
use crate::base::error::Result;
use crate::method::Call;
use crate::publication::{Subscription, Vent};
use crate::worker::{Answer, Worker};

impl Builder {
    /// Lets clients be members of a group: the publication `name` gives them records, and the
    /// methods `name/ack`, `name/nack`, `name/extend` and `name/reject` take their answers. The
    /// package `updraft-client` has a function for it, `consume`.
    ///
    /// Who may work is whoever `authorize` does not refuse. It is called for each subscription, and
    /// again when the user of the client changes. A right that is withdrawn later ends nothing by
    /// itself: see [`Handle::stop_subscriptions`](crate::Handle::stop_subscriptions).
    ///
    /// Only the session that was given a record can answer it. What it has is given to others when
    /// it unsubscribes, when it says that it leaves, and when it is gone for longer than a session
    /// waits for its client; only the latter counts as a failure.
    ///
    /// How many records a client has at once is limited by
    /// [`WorkerSettings`](crate::config::WorkerSettings).
    ///
    /// ```
    /// # use updraft::prelude::*;
    /// use updraft::topics::{GroupSettings, Memory, Settings, Topics};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let topics = Topics::open(Memory::new());
    /// let orders = topics.topic("orders", Settings::default()).await?;
    /// let billing = topics.group("billing", GroupSettings::on([&orders])).await?;
    /// let builder = Server::builder().worker(
    ///     "orders.work",
    ///     &billing,
    ///     async |subscription: Subscription| {
    ///         subscription.user_id().map(drop).ok_or(Error::forbidden("Log in first"))
    ///     },
    /// );
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn worker<Fut>(
        mut self,
        name: &str,
        group: &Group,
        authorize: impl Fn(Subscription) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let worker = Worker::new(group, authorize);
        self.workers.push((name.to_owned(), worker));
        self
    }

    /// Registers the publications and methods of workers. The settings are known by then.
    pub(super) fn with_workers(mut self) -> Self {
        let settings = self.settings.workers;
        for (name, worker) in std::mem::take(&mut self.workers) {
            let worker = Arc::new(worker.with_settings(settings));
            self = self.with_worker(&name, &worker);
        }
        self
    }

    fn with_worker(self, name: &str, worker: &Arc<Worker>) -> Self {
        let of = worker.clone();
        let this = self.vent(name, move |vent: Vent, credit| {
            let worker = of.clone();
            async move { worker.work(vent, credit).await }
        });
        let this = this.answering(name, "ack", worker, |token: String| {
            Ok((token, Answer::Ack))
        });
        let this = this.answering(name, "extend", worker, |token: String| {
            Ok((token, Answer::Extend))
        });
        let this = this.answering(name, "nack", worker, |params: (String, _, _)| {
            let (token, delay, reason) = params;
            Ok((token, Answer::nack(delay, reason)?))
        });
        this.answering(name, "reject", worker, |(token, reason)| {
            Ok((token, Answer::Reject(reason)))
        })
    }

    /// Registers one of a worker's methods. `read` says what its parameters mean.
    fn answering<P: DeserializeOwned + Send + 'static>(
        self,
        name: &str,
        verb: &str,
        worker: &Arc<Worker>,
        read: fn(P) -> Result<(String, Answer)>,
    ) -> Self {
        let worker = worker.clone();
        self.method(&format!("{name}/{verb}"), move |call: Call, params: P| {
            let worker = worker.clone();
            async move {
                let (token, answer) = read(params)?;
                worker.answer(&call, &token, answer).await
            }
        })
    }
}
