//! The paths in the code of a file, outside comments, string literals and tests: those of its `use`
//! declarations, one for each name in their braces, and all others.

use super::code::{blank, without_tests, word_at, words};

/// A path and its position.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
    pub(super) purpose: Purpose,
}

/// The purpose of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The item is used at this position.
    Use,
    /// The item has this name in the file.
    Import(String),
    /// The item has this name in the file, and the file re-exports it.
    Reexport(String),
}

/// All paths of a file.
pub(super) fn mentions(text: &str) -> Vec<Mention> {
    let code = blank(without_tests(text));
    let mut found = Vec::new();
    let mut read_to = 0;
    for (start, word) in words(&code) {
        let before = code.get(..start).unwrap_or_default().trim_end();
        if start < read_to || before.ends_with("::") {
            continue;
        }
        let mut reader = Reader {
            code: &code,
            at: start,
        };
        if word == "use" {
            reader.at += word.len();
            reader.declaration(&[], is_reexport(before), &mut found);
        } else {
            reader.path(&mut found);
        }
        read_to = reader.at;
    }
    found
}

/// Whether the `use` after this text is `pub`, with any visibility.
fn is_reexport(before: &str) -> bool {
    let line = before.rsplit([';', '}', ']']).next().unwrap_or_default();
    line.trim_start().starts_with("pub")
}

struct Reader<'a> {
    code: &'a str,
    at: usize,
}

impl Reader<'_> {
    /// Reads a path of more than one segment, or skips a single word.
    fn path(&mut self, found: &mut Vec<Mention>) {
        let line = self.line();
        let mut segments = Vec::new();
        loop {
            let word = self.word();
            segments.extend(word.map(str::to_owned));
            if word.is_none() || !self.takes("::") {
                break;
            }
        }
        if segments.len() > 1 {
            let purpose = Purpose::Use;
            found.push(Mention {
                line,
                segments,
                purpose,
            });
        }
    }

    /// Reads the imports of one `use`, or of one part of it in braces.
    fn declaration(&mut self, prefix: &[String], is_reexport: bool, found: &mut Vec<Mention>) {
        let mut segments = prefix.to_vec();
        self.skip_space();
        let line = self.line();
        while !self.takes("{") {
            if self.takes("*") {
                segments.push("*".to_owned());
            }
            segments.extend(self.word().map(str::to_owned));
            if self.takes("::") {
                continue;
            }
            let mut name = segments.last().cloned().unwrap_or_default();
            if name == "self" {
                segments.pop();
                name = segments.last().cloned().unwrap_or_default();
            }
            if self.takes("as ") {
                name = self.word().unwrap_or_default().to_owned();
            }
            found.push(Mention {
                line,
                segments,
                purpose: match is_reexport {
                    true => Purpose::Reexport(name),
                    false => Purpose::Import(name),
                },
            });
            return;
        }
        while !self.takes("}") && self.at < self.code.len() {
            self.declaration(&segments, is_reexport, found);
            self.takes(",");
        }
    }

    /// Takes the next word.
    fn word(&mut self) -> Option<&str> {
        self.skip_space();
        let word = word_at(self.code, self.at);
        self.at += word.len();
        (!word.is_empty()).then_some(word)
    }

    /// Takes this text, if it comes next.
    fn takes(&mut self, what: &str) -> bool {
        let before = self.at;
        self.skip_space();
        let takes = self.rest().starts_with(what);
        self.at = if takes { self.at + what.len() } else { before };
        takes
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &str {
        self.code.get(self.at..).unwrap_or_default()
    }

    fn line(&self) -> usize {
        let before = self.code.get(..self.at).unwrap_or_default();
        before.matches('\n').count() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_with_their_lines_and_names() {
        let text = "use a::{self, b::{C, D as E}};\npub(crate) use x::*;\n\
                    /// [`q`](crate::q)\nfn f() -> super::G {\n    Vec::<u8>::new() // a::z\n}\n\
                    #[cfg(test)]\nmod tests { use super::y; }\n";
        let found: Vec<_> = mentions(text)
            .into_iter()
            .map(|it| (it.line, it.segments.join("::"), it.purpose))
            .collect();
        let import = |name: &str| Purpose::Import(name.to_owned());
        let expected = [
            (1, "a", import("a")),
            (1, "a::b::C", import("C")),
            (1, "a::b::D", import("E")),
            (2, "x::*", Purpose::Reexport("*".to_owned())),
            (4, "super::G", Purpose::Use),
        ];
        let expected = expected.map(|(line, path, purpose)| (line, path.to_owned(), purpose));
        assert_eq!(found, expected);
    }
}
