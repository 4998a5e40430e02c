//! Patterns. They are checked and normalised to JavaScript's notation, but never executed: a
//! client's pattern must not cost this process more than its length.

use super::text::TextBuilder;
use super::{ParseError, Text};

/// A JavaScript regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regexp {
    source: Text,
    flags: String,
}

// The checker recurses, part of its work grows with the square of the length, and every `\p{…}`
// makes it copy a table.
const MAX_LENGTH: usize = 4096;
const MAX_NESTING: usize = 64;
const MAX_PROPERTIES: usize = 16;

impl Regexp {
    /// Checks and normalises a pattern as Meteor does when it decodes one. Of the first 50
    /// characters of `flags`, `g`, `i`, `m`, `u` and `y` are kept, each once, in alphabetical
    /// order.
    ///
    /// # Errors
    ///
    /// If JavaScript would refuse the pattern, or it is longer than 4096 characters, nested deeper
    /// than 64 groups, or has more than 16 `\p{…}`.
    pub fn new(source: impl Into<Text>, flags: &str) -> Result<Self, ParseError> {
        let source = source.into();
        let given: Vec<char> = flags
            .encode_utf16()
            .take(50)
            .filter_map(|unit| char::from_u32(u32::from(unit)))
            .collect();
        let flags: String = "gimuy"
            .chars()
            .filter(|flag| given.contains(flag))
            .collect();
        check(&source, &flags)?;
        Ok(Self {
            source: printable(&source),
            flags,
        })
    }

    /// The pattern as in JavaScript's `source`.
    pub fn source(&self) -> &Text {
        &self.source
    }

    /// The flags, in alphabetical order.
    pub fn flags(&self) -> &str {
        &self.flags
    }
}

fn check(source: &Text, flags: &str) -> Result<(), ParseError> {
    let (mut length, mut depth, mut properties, mut escaped) = (0_usize, 0_usize, 0_usize, false);
    for point in source.code_points() {
        length = length.saturating_add(1);
        match char::from_u32(point) {
            Some('p' | 'P') if escaped => properties = properties.saturating_add(1),
            Some('(' | '[') if !escaped => depth = depth.saturating_add(1),
            Some(')' | ']') if !escaped => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = !escaped && point == u32::from('\\');
        if length > MAX_LENGTH || depth > MAX_NESTING || properties > MAX_PROPERTIES {
            return Err(ParseError::ejson("pattern too long or too deep"));
        }
    }
    let flags = regress::Flags {
        // The other flags do not affect validity, and `i` makes the check of `\p{L}` fifty times
        // slower.
        unicode: flags.contains('u'),
        // The optimiser may unroll loops, and its result would be discarded.
        no_opt: true,
        ..regress::Flags::default()
    };
    // In a pattern a lone surrogate is an ordinary character, so any other can replace it.
    let points = source.to_string_lossy();
    match regress::Regex::from_unicode(points.chars().map(u32::from), flags) {
        Ok(_) => Ok(()),
        Err(_) => Err(ParseError::ejson("invalid pattern")),
    }
}

/// The pattern in a form that can stand between slashes on one line.
fn printable(source: &Text) -> Text {
    if source.is_empty() {
        return Text::from("(?:)");
    }
    let mut out = TextBuilder::default();
    let (mut escaped, mut in_class) = (false, false);
    for point in source.code_points() {
        let name = match char::from_u32(point) {
            Some('/') if !in_class => "/",
            Some('\n') => "n",
            Some('\r') => "r",
            Some('\u{2028}') => "u2028",
            Some('\u{2029}') => "u2029",
            _ => "",
        };
        if name.is_empty() {
            out.push_code_point(point);
        } else {
            out.push_str(if escaped { "" } else { "\\" });
            out.push_str(name);
        }
        match char::from_u32(point) {
            _ if escaped => {}
            Some('[') => in_class = true,
            Some(']') => in_class = false,
            _ => {}
        }
        escaped = !escaped && point == u32::from('\\');
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ddp_190_sources_print_as_in_javascript() {
        for (source, printed) in [
            ("", "(?:)"),
            ("/", r"\/"),
            ("a/b", r"a\/b"),
            (r"\/", r"\/"),
            ("[/]", "[/]"),
            ("[^/]/", r"[^/]\/"),
            ("\n", r"\n"),
            ("\\\n", r"\n"),
            ("\r", r"\r"),
            ("\u{2028}", r"\u2028"),
            ("[\n]", r"[\n]"),
            (r"\\/", r"\\\/"),
            (r"[\]/]/", r"[\]/]\/"),
            ("[]/]", r"[]\/]"),
        ] {
            assert_eq!(Regexp::new(source, "").unwrap().source(), printed);
        }
    }

    #[test]
    fn ddp_190_flags_are_filtered() {
        let flags = |flags: &str| Regexp::new("a", flags).unwrap().flags;
        assert_eq!(flags("ggiixyz"), "giy");
        assert_eq!(flags("yg"), "gy");
        assert_eq!(flags(&format!("{}g", "x".repeat(50))), "");
    }

    #[test]
    fn deviation_012_hostile_patterns_are_refused_not_run() {
        for pattern in [
            "(",
            "a)",
            "[",
            "*",
            r"\",
            "(?<n>",
            "a**",
            "{1}",
            "a{2,1}",
            "(?<a>x)(?<a>y)",
        ] {
            assert!(Regexp::new(pattern, "").is_err(), "{pattern}");
        }
        for pattern in ["(", "(?:", "[", "(?=", "(a|", "(?<=", r"\("] {
            assert!(Regexp::new(pattern.repeat(100_000), "").is_err());
        }
        assert!(Regexp::new(format!("{}{}", "(".repeat(65), ")".repeat(65)), "").is_err());
        assert!(Regexp::new(format!("{}{}", "(".repeat(64), ")".repeat(64)), "").is_ok());
        assert!(Regexp::new("(a+)+$", "").is_ok());
        assert!(Regexp::new(r"\p{L}".repeat(16), "iu").is_ok());
        assert!(Regexp::new(r"\p{L}".repeat(17), "iu").is_err());
    }
}
