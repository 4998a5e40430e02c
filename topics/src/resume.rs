//! What becomes of a reader that comes back with a place: it goes on, it has missed records, or its
//! place is not one of the topic any more.

use crate::loss::{Gap, Reset, ResetReason};
use crate::{Bounds, Offset, Page, Place, Read, TopicError, TopicName};

/// The page, unless the place is not one of this topic.
///
/// # Errors
///
/// [`TopicError::Reset`].
pub(crate) fn page_of(read: Read, topic: &TopicName) -> Result<Page, TopicError> {
    let (reason, bounds) = match read {
        Read::Page(page) => return Ok(page),
        Read::UnknownEpoch(bounds) => (ResetReason::UnknownEpoch, bounds),
        Read::Ahead(bounds) => (ResetReason::Ahead, bounds),
        Read::Diverged(bounds) => (ResetReason::Diverged, bounds),
    };
    Err(TopicError::Reset(Reset::new(reason, topic, &bounds)))
}

/// What a reader at this place has missed. `horizon` is the horizon of which the reader knows: what
/// it has read was read when the ends of ids up to there had been removed already.
pub(crate) fn gap(place: Place, horizon: Offset, bounds: &Bounds) -> Option<Gap> {
    let requested = place.offset;
    let next = requested.saturating_add(1);
    let first = bounds.first.max(next);
    let trimmed = first.saturating_sub(next);
    let ends = if requested > 0 && bounds.horizon > horizon {
        bounds.horizon.saturating_sub(requested)
    } else {
        0
    };
    let lost = if trimmed > 0 { trimmed } else { ends };
    (lost > 0).then_some(Gap {
        requested,
        first,
        lost,
    })
}

impl Bounds {
    /// What a reader at this place of the topic has missed. `horizon` is the [horizon](Self::horizon)
    /// of which the reader knows, because it was so when the reader began, or read the page that
    /// ends at this place; 0 for a reader that comes back.
    pub fn gap(&self, place: Place, horizon: Offset) -> Option<Gap> {
        gap(place, horizon, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    #[test]
    fn topic_025_031_a_gap_counts_what_was_trimmed_or_may_have_ended() {
        let epoch = Epoch::draw();
        let mut bounds = Bounds::new(epoch);
        bounds.last = 100;
        let lost = |offset, horizon, bounds: &Bounds| {
            let gap = gap(Place::unmarked(epoch, offset), horizon, bounds);
            gap.map(|gap| (gap.first, gap.lost))
        };
        assert_eq!(lost(0, 0, &bounds), None);
        bounds.first = 11;
        assert_eq!(lost(0, 0, &bounds), Some((11, 10)));
        assert_eq!(lost(9, 0, &bounds), Some((11, 1)));
        assert_eq!(lost(10, 0, &bounds), None);
        bounds.horizon = 20;
        assert_eq!(lost(9, 0, &bounds), Some((11, 1)));
        assert_eq!(lost(15, 0, &bounds), Some((16, 5)));
        assert_eq!(lost(15, 20, &bounds), None);
        assert_eq!(lost(20, 0, &bounds), None);
        // Who has read nothing has missed no end.
        bounds.first = 1;
        assert_eq!(lost(0, 0, &bounds), None);
    }
}
