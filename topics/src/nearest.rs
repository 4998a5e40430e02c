//! The name that a mistyped one may have meant.

/// The most similar of these names, if one is similar enough.
pub(crate) fn nearest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = wanted.chars().count() / 2;
    let known = known.into_iter().map(|name| (distance(name, wanted), name));
    let nearest = known.filter(|(distance, _)| *distance <= most).min();
    nearest.map(|(_, name)| name)
}

/// How many characters must be changed, added or left out to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, a) in one.chars().enumerate() {
        let mut left = index.saturating_add(1);
        let mut above_left = index;
        let mut next = vec![left];
        for (b, above) in other.iter().zip(row.iter().skip(1)) {
            let changed = above_left.saturating_add(usize::from(a != *b));
            left = changed
                .min(left.saturating_add(1))
                .min(above.saturating_add(1));
            above_left = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_far_apart_as_they_have_other_characters() {
        for (one, other, expected) in [
            ("", "", 0),
            ("billing", "billing", 0),
            ("biling", "billing", 1),
            ("bilinng", "billing", 2),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }
}
