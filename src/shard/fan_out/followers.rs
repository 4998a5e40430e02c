//! The followers of one channel, in the order in which they were added. All are visited for each
//! message, so they are next to each other in memory. All may leave at once, so each is found by
//! its rank, not by a scan.

use super::FollowerId;

/// The position of a follower in the order of registration of its shard. Ranks grow and are never
/// reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

impl Rank {
    /// Returns this rank, and moves on to the next.
    pub(super) fn take(&mut self) -> Self {
        let rank = *self;
        self.0 = self.0.saturating_add(1);
        rank
    }
}

/// The followers of one channel.
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// Ordered by rank. Filled by `push`, drained by `remove`. Removed entries stay as holes until
    /// they are half of all.
    entries: Vec<(Rank, Option<FollowerId>)>,
    holes: usize,
}

impl Followers {
    /// Adds a follower. Its rank is not lower than that of any other.
    pub(super) fn push(&mut self, rank: Rank, id: FollowerId) {
        if self.entries.capacity() == 0 {
            // If each client has channels of its own, there is never a second follower.
            self.entries.reserve_exact(1);
        }
        self.entries.push((rank, Some(id)));
    }

    /// Removes a follower; only one entry if it has several.
    pub(super) fn remove(&mut self, rank: Rank, id: FollowerId) {
        let first = self.entries.partition_point(|(other, _)| *other < rank);
        let mut entries = self.entries.iter_mut().skip(first);
        if let Some((_, found)) = entries.find(|(_, found)| *found == Some(id)) {
            *found = None;
            self.holes = self.holes.saturating_add(1);
            if self.holes > self.entries.len() / 2 {
                self.close_up();
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = FollowerId> {
        self.entries.iter().filter_map(|(_, id)| *id)
    }

    fn close_up(&mut self) {
        self.entries.retain(|(_, id)| id.is_some());
        self.holes = 0;
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len().saturating_mul(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: impl IntoIterator<Item = FollowerId>) -> (Followers, Vec<Rank>) {
        let (mut next, mut followers) = (Rank::default(), Followers::default());
        let ids = ids.into_iter();
        let ranks = ids
            .map(|id| {
                let rank = next.take();
                followers.push(rank, id);
                rank
            })
            .collect();
        (followers, ranks)
    }

    fn left(followers: &Followers) -> Vec<FollowerId> {
        followers.iter().collect()
    }

    #[test]
    fn the_order_is_that_of_registration_whoever_leaves() {
        // Indexes are reused, so they are in no order.
        let ids = [7, 3, 9, 1, 4, 2];
        let (mut followers, ranks) = of(ids);
        followers.remove(ranks[1], 3);
        assert_eq!(left(&followers), [7, 9, 1, 4, 2]);
        followers.remove(ranks[4], 4);
        followers.remove(ranks[0], 7);
        followers.remove(ranks[5], 2);
        assert_eq!(left(&followers), [9, 1]);
        followers.push(Rank(6), 3);
        assert_eq!(left(&followers), [9, 1, 3]);
        for (rank, id) in [(ranks[2], 9), (ranks[3], 1), (Rank(6), 3)] {
            assert!(!followers.is_empty());
            followers.remove(rank, id);
        }
        assert!(followers.is_empty());
    }

    #[test]
    fn who_follows_twice_leaves_twice() {
        let mut followers = Followers::default();
        for (rank, id) in [(1, 5), (1, 5), (2, 6), (2, 6), (3, 7)] {
            followers.push(Rank(rank), id);
        }
        followers.remove(Rank(1), 5);
        assert_eq!(left(&followers), [5, 6, 6, 7]);
        followers.remove(Rank(1), 5);
        followers.remove(Rank(2), 6);
        assert_eq!(left(&followers), [6, 7]);
        // No follower of this rank is left.
        followers.remove(Rank(1), 5);
        assert_eq!(left(&followers), [6, 7]);
    }

    #[test]
    fn holes_are_never_most_of_it_and_memory_is_given_back() {
        let (mut followers, ranks) = of(0..1000);
        for (left, (id, rank)) in ranks.into_iter().enumerate().rev().enumerate() {
            followers.remove(rank, id);
            let there = 999 - left;
            assert_eq!(followers.iter().count(), there);
            assert!(followers.entries.len() <= 2 * there, "{there}");
            let room = followers.entries.capacity();
            assert!(room <= 8 * there + 8, "{there} {room}");
        }
        assert!(followers.is_empty());
    }
}
