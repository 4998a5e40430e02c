//! Which parts of a file are code: not comments, string literals or tests.

/// The code before the tests, which come last in a file.
pub(super) fn without_tests(text: &str) -> &str {
    let tests = text.find("#[cfg(test)]\nmod tests");
    tests.map_or(text, |at| text.get(..at).unwrap_or(text))
}

/// Words and where they begin.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let bounds = code.char_indices().filter(move |(at, letter)| {
        let before = code
            .get(..*at)
            .and_then(|before| before.chars().next_back());
        is_word(*letter) && !before.is_some_and(is_word)
    });
    bounds.map(move |(at, _)| (at, word_at(code, at)))
}

/// The word that begins here; empty if none does.
pub(super) fn word_at(code: &str, at: usize) -> &str {
    let rest = code.get(at..).unwrap_or_default();
    let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The code with comments and string literals replaced by blanks; line breaks stay.
pub(super) fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest);
        if length == 0 {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        let (blanked, behind) = rest.split_at(length.min(rest.len()));
        out.extend(
            blanked
                .chars()
                .map(|letter| if letter == '\n' { '\n' } else { ' ' }),
        );
        rest = behind;
    }
    out
}

/// The length of the comment or string literal that begins here; 0 if none does.
fn skipped(rest: &str) -> usize {
    let through = |end: &str, from: usize| {
        let behind = rest.get(from..).unwrap_or_default();
        behind
            .find(end)
            .map_or(rest.len(), |at| from + at + end.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return through("*/", 2);
    }
    for (begin, end) in [("r#\"", "\"#"), ("r\"", "\""), ("r##\"", "\"##")] {
        if rest.starts_with(begin) {
            return through(end, begin.len());
        }
    }
    if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") || rest.starts_with("b'\"'") {
        return through("'", rest.find('\'').unwrap_or(0) + 1).max(3);
    }
    if rest.starts_with('"') {
        let mut is_escaped = false;
        for (at, letter) in rest.char_indices().skip(1) {
            match letter {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => return at + 1,
                _ => {}
            }
        }
        return rest.len();
    }
    0
}
