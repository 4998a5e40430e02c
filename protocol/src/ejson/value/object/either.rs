//! An iterator that is one of two kinds.

/// The iterator of a short object or of a long one.
#[derive(Clone, Debug)]
pub(super) enum Either<S, L> {
    Short(S),
    Long(L),
}

impl<S: Iterator, L: Iterator<Item = S::Item>> Iterator for Either<S, L> {
    type Item = S::Item;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Short(members) => members.next(),
            Self::Long(members) => members.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Short(members) => members.size_hint(),
            Self::Long(members) => members.size_hint(),
        }
    }
}

impl<S: DoubleEndedIterator, L: DoubleEndedIterator<Item = S::Item>> DoubleEndedIterator
    for Either<S, L>
{
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Short(members) => members.next_back(),
            Self::Long(members) => members.next_back(),
        }
    }
}

impl<S: ExactSizeIterator, L: ExactSizeIterator<Item = S::Item>> ExactSizeIterator
    for Either<S, L>
{
}
