//! Which events a listener gets.

use std::collections::BTreeMap;

use super::Event;

/// Chooses events by their names and metadata.
///
/// ```
/// use updraft_topics::Filter;
///
/// let paid_in_europe = Filter::pattern("order.*.paid").meta("region", "eu");
/// # let _ = paid_in_europe;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it is given to `on`"]
pub struct Filter {
    name: Name,
    /// All of these must be as they are here.
    meta: BTreeMap<Box<str>, Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Is(Box<str>),
    Like(Box<str>),
}

impl Filter {
    /// Events of this name.
    pub fn name(name: &str) -> Self {
        Self::new(Name::Is(name.into()))
    }

    /// Events whose names match a pattern, in which `*` stands for any text, or none. There are no
    /// other special characters.
    pub fn pattern(pattern: &str) -> Self {
        Self::new(Name::Like(pattern.into()))
    }

    /// All events.
    pub fn all() -> Self {
        Self::pattern("*")
    }

    fn new(name: Name) -> Self {
        Self {
            name,
            meta: BTreeMap::new(),
        }
    }

    /// Those of them whose metadata has this text under this name.
    pub fn meta(mut self, name: &str, text: &str) -> Self {
        self.meta.insert(name.into(), text.into());
        self
    }

    pub(super) fn matches(&self, event: &Event) -> bool {
        let meta = event.message().meta();
        let mut wanted = self.meta.iter();
        self.name.matches(event.name())
            && wanted.all(|(name, text)| meta.get(&**name).is_some_and(|it| **it == **text))
    }
}

/// Events of this name.
impl From<&str> for Filter {
    fn from(name: &str) -> Self {
        Self::name(name)
    }
}

impl Name {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Is(wanted) => name == &**wanted,
            Self::Like(pattern) => is_like(name, pattern),
        }
    }
}

/// Whether a text has the parts of a pattern, in their order: the first one at its beginning, the
/// last one at its end.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "order"),
            ("order.*", "order."),
            ("order.*", "order.7.paid"),
            ("*.paid", "order.7.paid"),
            ("order.*.paid", "order.7.paid"),
            ("a*a", "aa"),
            ("*b*b*", "abcb"),
            ("**", "x"),
            ("é*", "éa"),
            ("", ""),
        ] {
            assert!(is_like(name, pattern), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "x"),
            ("order", "orders"),
            ("order.*", "order"),
            ("order.*.paid", "order.paid"),
            ("a*a", "a"),
            ("*b*b*", "abc"),
            ("a.c", "abc"),
        ] {
            assert!(!is_like(name, pattern), "{pattern} {name}");
        }
    }
}
