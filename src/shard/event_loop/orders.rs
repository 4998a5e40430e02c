//! Orders about users, carried out on the connections of this shard.

use updraft_bus::Message;

use super::EventLoop;
use crate::shard::orders::Order;

impl EventLoop {
    pub(super) fn obey(&mut self, message: &Message) {
        let Some(order) = self.shared.orders.take(message) else {
            return;
        };
        match order {
            Order::Disconnect { user } => {
                for index in self.connections_of(&user) {
                    if let Some(client) = self.clients.get_mut(index) {
                        client.session.close(&mut self.out);
                        self.settle(index);
                    }
                }
            }
            Order::Stop { user, publication } => {
                for index in self.connections_of(&user) {
                    self.stop_subscriptions(index, &publication);
                }
            }
        }
    }

    fn stop_subscriptions(&mut self, index: usize, publication: &str) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let named = client.subscriptions.iter();
        let named = named.filter(|it| it.subscription.publication() == publication);
        let runs: Vec<_> = named.map(|running| running.run).collect();
        for run in runs {
            client.session.stop(run, None, &mut self.out);
        }
        self.settle(index);
    }

    /// The places of a user's connections.
    fn connections_of(&self, user: &str) -> Vec<usize> {
        let all = self.clients.iter();
        let of_user = all.filter(|(_, client)| client.user.as_deref() == Some(user));
        of_user.map(|(index, _)| index).collect()
    }
}
