//! Which known names a mistyped one may have meant.

/// How many are named.
const MOST: usize = 3;

/// The names that are most like this one, the best first; those that are not like it are left out.
pub(super) fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().collect();
    // A third of the letters may be wrong.
    let most = (wanted.len() / 3).max(1);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for name in known {
        let letters: Vec<char> = name.to_lowercase().chars().collect();
        let mut distance = distance(&wanted, &letters);
        if wanted.len() > 2 && letters.starts_with(&wanted) {
            distance = distance.min(1);
        }
        if distance <= most {
            found.push((distance, name));
            found.sort();
            found.truncate(MOST);
        }
    }
    found.into_iter().map(|(_, name)| name).collect()
}

/// How many letters must be put in, left out, replaced, or swapped with the next.
fn distance(a: &[char], b: &[char]) -> usize {
    // Rows of the table of distances between beginnings: of two letters before, one before, now.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut row = vec![i.saturating_add(1)];
        for (j, other) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX);
            let next = j.saturating_add(1);
            let replaced = at(&last, j).saturating_add(usize::from(letter != other));
            let left_out = at(&last, next).saturating_add(1);
            let put_in = at(&row, j).saturating_add(1);
            let mut least = replaced.min(left_out).min(put_in);
            if let (Some(i), Some(j)) = (i.checked_sub(1), j.checked_sub(1))
                && a.get(i) == Some(other)
                && b.get(j) == Some(letter)
            {
                least = least.min(at(&before, j).saturating_add(1));
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_those_that_are_like_it() {
        let known = ["orders", "order-events", "payments", "Ordres", "o", "ö"];
        for (wanted, expected) in [
            ("oders", vec!["orders"]),
            ("ordres", vec!["Ordres", "orders"]),
            ("orders", vec!["orders", "Ordres"]),
            ("PAYMENT", vec!["payments"]),
            ("order", vec!["order-events", "orders"]),
            ("x", vec!["o", "ö"]),
            ("something", vec![]),
            ("", vec!["o", "ö"]),
        ] {
            assert_eq!(nearest(wanted, known), expected, "{wanted}");
        }
    }
}
