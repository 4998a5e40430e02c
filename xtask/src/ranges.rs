//! Lists of numbers as people write them: `1–4, 6, 8–9`.

use std::collections::BTreeSet;

/// Ascending numbers, with neighbours joined; a dash if there are none.
pub(crate) fn shown(numbers: &BTreeSet<u16>) -> String {
    let numbers: Vec<u16> = numbers.iter().copied().collect();
    let runs = numbers.chunk_by(|number, next| number.checked_add(1) == Some(*next));
    let runs: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}–{last}"),
            run => run.iter().map(u16::to_string).collect(),
        })
        .collect();
    if runs.is_empty() {
        return "–".into();
    }
    runs.join(", ")
}

/// Parses `1–4, 6`; `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<BTreeSet<u16>> {
    let mut numbers = BTreeSet::new();
    for run in text.split(", ") {
        let (first, last) = run.split_once('–').unwrap_or((run, run));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined() {
        assert_eq!(shown(&[].into()), "–");
        assert_eq!(shown(&[7].into()), "7");
        assert_eq!(shown(&[1, 2, 3, 5, 7, 8].into()), "1–3, 5, 7–8");
    }

    #[test]
    fn what_is_shown_is_read() {
        assert_eq!(parse("1–3, 5"), Some([1, 2, 3, 5].into()));
        for text in ["", "–", "1-2", "a"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
