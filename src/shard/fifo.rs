//! A queue that mostly holds one entry, or none: the first one lies in it and needs no memory of its own.

use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Fifo<T> {
    /// None only while `rest` is empty.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Fifo<T> {
    pub(super) const fn new() -> Self {
        Self {
            first: None,
            rest: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn push_back(&mut self, entry: T) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.rest.push_back(entry);
        }
    }

    pub(super) fn push_front(&mut self, entry: T) {
        if let Some(second) = self.first.replace(entry) {
            self.rest.push_front(second);
        }
    }

    /// The memory of a long queue is given back with its last entry.
    pub(super) fn pop_front(&mut self) -> Option<T> {
        let next = self.rest.pop_front();
        if next.is_none() {
            self.rest = VecDeque::new();
        }
        std::mem::replace(&mut self.first, next)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    pub(super) fn append(&mut self, other: Self) {
        for entry in other {
            self.push_back(entry);
        }
    }
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> IntoIterator for Fifo<T> {
    type Item = T;
    type IntoIter =
        std::iter::Chain<std::option::IntoIter<T>, std::collections::vec_deque::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::Fifo;

    #[test]
    fn entries_come_out_in_order_and_leave_no_memory() {
        let mut fifo = Fifo::new();
        assert_eq!(fifo.pop_front(), None);
        for entry in 1..=5 {
            fifo.push_back(entry);
        }
        assert_eq!(fifo.pop_front(), Some(1));
        fifo.push_front(0);
        fifo.push_back(6);
        fifo.iter_mut().for_each(|entry| *entry *= 10);
        let mut more = Fifo::new();
        more.push_front(70);
        fifo.append(more);
        assert_eq!(fifo.pop_front(), Some(0));
        let rest: Vec<_> = std::iter::from_fn(|| fifo.pop_front()).collect();
        assert_eq!(rest, [20, 30, 40, 50, 60, 70]);
        assert!(fifo.is_empty());
        assert_eq!(fifo.rest.capacity(), 0);
    }
}
