//! What the code of a file refers to, outside comments, texts and tests.

/// A mention of a module that stands directly below `src`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) line: usize,
    pub(super) name: String,
}

/// The modules that a file refers to by `crate::` or by climbing out of its folder. `depth` is the number of parts of the
/// file's path below `src`; `is_mod` says whether it is the module of its folder.
pub(super) fn references(text: &str, depth: usize, is_mod: bool) -> Vec<Reference> {
    let code = blank(without_tests(text));
    // `super` of this many steps is `crate`.
    let to_root = depth - usize::from(is_mod);
    let mut found = Vec::new();
    for (start, word) in words(&code) {
        let before = code.get(..start).unwrap_or_default();
        let after = match word {
            "crate" => rest_of_path(&code, start + word.len()),
            "super" if !before.ends_with("super::") => climb(&code, start, to_root),
            _ => None,
        };
        if let Some(at) = after {
            add_names(&code, at, &mut found);
        }
    }
    found
}

/// The code before the tests, which are last in a file.
pub(super) fn without_tests(text: &str) -> &str {
    let tests = text.find("#[cfg(test)]\nmod tests");
    tests.map_or(text, |at| text.get(..at).unwrap_or(text))
}

/// Behind the `::` that follows here, if one does.
fn rest_of_path(code: &str, at: usize) -> Option<usize> {
    let rest = code.get(at..)?;
    rest.trim_start()
        .starts_with("::")
        .then(|| at + rest.find("::").unwrap_or(0) + 2)
}

/// Behind a path of `super`, if it ends in the root of the crate.
fn climb(code: &str, start: usize, to_root: usize) -> Option<usize> {
    let mut at = start;
    let mut steps = 0;
    while code.get(at..)?.starts_with("super") {
        steps += 1;
        at = rest_of_path(code, at + "super".len())?;
    }
    (steps == to_root).then_some(at)
}

/// Adds the name that stands here, or each of those in braces.
fn add_names(code: &str, at: usize, found: &mut Vec<Reference>) {
    let Some(rest) = code.get(at..) else { return };
    let indent = rest.len() - rest.trim_start().len();
    let (at, rest) = (at + indent, rest.trim_start());
    if let Some(group) = rest.strip_prefix('{') {
        let mut nested = 0;
        let mut is_first = true;
        for (offset, letter) in group.char_indices() {
            match letter {
                '{' => nested += 1,
                '}' if nested == 0 => return,
                '}' => nested -= 1,
                ',' if nested == 0 => is_first = true,
                _ if is_first && is_word(letter) => {
                    is_first = false;
                    add_names(code, at + 1 + offset, found);
                }
                _ => {}
            }
        }
    } else {
        let name: String = rest.chars().take_while(|letter| is_word(*letter)).collect();
        let line = code.get(..at).unwrap_or_default().matches('\n').count() + 1;
        if !name.is_empty() {
            found.push(Reference { line, name });
        }
    }
}

/// Words and where they begin.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let bounds = code.char_indices().filter(move |(at, letter)| {
        let before = code
            .get(..*at)
            .and_then(|before| before.chars().next_back());
        is_word(*letter) && !before.is_some_and(is_word)
    });
    bounds.map(move |(at, _)| {
        let rest = code.get(at..).unwrap_or_default();
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        (at, rest.get(..end).unwrap_or_default())
    })
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The code with comments and texts as blanks, line by line as it was.
fn blank(text: &str) -> String {
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

/// How long the comment or text is that begins here; 0 if none does.
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
