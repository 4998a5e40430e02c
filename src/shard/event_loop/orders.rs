//! Orders about users, carried out on the connections of this shard.

use updraft_bus::Message;
use updraft_protocol::session::Output;

use super::EventLoop;
use crate::shard::orders::Order;

impl EventLoop {
    pub(super) fn apply_order(&mut self, message: &Message, out: &mut Output) {
        let Some(order) = self.shard.shared.orders.accept(message) else {
            return;
        };
        match order {
            Order::Disconnect { user } => {
                for index in self.connections_of(&user) {
                    if let Some(client) = self.clients.get_mut(index) {
                        client.session.close(out);
                        self.carry_out(index, out);
                    }
                }
            }
            Order::Stop { user, publication } => {
                for index in self.connections_of(&user) {
                    self.stop_subscriptions(index, &publication, out);
                }
            }
        }
    }

    fn stop_subscriptions(&mut self, index: usize, publication: &str, out: &mut Output) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let named = client.subscriptions.iter();
        let named = named.filter(|it| it.subscription.publication() == publication);
        let runs: Vec<_> = named.map(|running| running.run).collect();
        for run in runs {
            client.session.stop(run, None, out);
        }
        self.carry_out(index, out);
    }

    /// The indexes of a user's connections.
    fn connections_of(&self, user: &str) -> Vec<usize> {
        let all = self.clients.iter();
        let of_user = all.filter(|(_, client)| client.user.as_deref() == Some(user));
        of_user.map(|(index, _)| index).collect()
    }
}
