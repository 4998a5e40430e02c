//! How much memory values take, for hosts that bound what peers may make them hold: a tree takes
//! many times as much as its text.

use super::{Object, Text, Value};

/// About how much an allocator needs for each block beyond the requested bytes.
const BLOCK: usize = 16;

impl Value {
    /// About how many bytes of memory the value takes: itself and its allocations, including unused
    /// capacity.
    ///
    /// ```
    /// # use updraft_protocol::ejson::{JsonLimits, Value, parse};
    /// let text = "[[1],[1],[1]]";
    /// let value = parse(text, &JsonLimits::default()).unwrap();
    /// assert!(value.memory() > 10 * text.len());
    /// ```
    pub fn memory(&self) -> usize {
        size_of::<Self>().saturating_add(self.allocated())
    }

    // The recursion is as deep as the value is nested, which `parse` has bounded.
    fn allocated(&self) -> usize {
        match self {
            Self::Undefined
            | Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::Date(_)
            | Self::ObjectId(_) => 0,
            Self::String(text) => block(text.heap_bytes()),
            Self::Array(items) => {
                let inner = items.iter().map(Self::allocated);
                inner.fold(slots::<Self>(items.capacity()), usize::saturating_add)
            }
            Self::Object(object) => object.allocated(),
            Self::Binary(bytes) => block(bytes.0.capacity()),
            Self::Regexp(pattern) => block(size_of_val(&**pattern))
                .saturating_add(block(pattern.source().heap_bytes()))
                .saturating_add(block(pattern.flags().len())),
            Self::Decimal(number) => {
                block(size_of_val(&**number)).saturating_add(block(number.as_str().len()))
            }
        }
    }
}

impl Object {
    /// About how many bytes of memory the object takes, counted as in [`Value::memory`].
    pub fn memory(&self) -> usize {
        size_of::<Self>().saturating_add(self.allocated())
    }

    fn allocated(&self) -> usize {
        // The index of a long object: the hashes, and a table of positions.
        let index = if self.is_hashed() {
            3 * size_of::<usize>()
        } else {
            0
        };
        let table = block(index.saturating_mul(self.capacity()));
        let members = slots::<(Text, Value)>(self.capacity()).saturating_add(table);
        self.iter().fold(members, |sum, (key, value)| {
            sum.saturating_add(block(key.heap_bytes()))
                .saturating_add(value.allocated())
        })
    }
}

/// A block with room for `capacity` items.
fn slots<T>(capacity: usize) -> usize {
    block(size_of::<T>().saturating_mul(capacity))
}

/// A block of this many bytes; zero bytes need no block.
fn block(bytes: usize) -> usize {
    if bytes == 0 {
        0
    } else {
        bytes.saturating_add(BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{JsonLimits, parse};
    use super::*;

    fn memory(text: &str) -> usize {
        parse(text, &JsonLimits::default()).unwrap().memory()
    }

    #[test]
    fn found_205_values_are_counted_at_what_they_take() {
        let own = size_of::<Value>();
        assert_eq!(memory("1"), own);
        assert_eq!(memory("[]"), own);
        assert_eq!(memory(r#""short""#), own);
        let long = "x".repeat(1000);
        let text = memory(&format!("\"{long}\""));
        assert!((own + 1000..own + 1100).contains(&text), "{text}");
        // Four bytes of text; with the initial capacity of a growing array they take up to forty
        // times as much.
        let numbers = vec!["[1]"; 1000].join(",");
        let tree = memory(&format!("[{numbers}]"));
        assert!(tree >= 1000 * (own + own + BLOCK), "{tree}");
        let member = own + size_of::<Text>();
        let objects = vec![r#"{"a":1}"#; 1000].join(",");
        let tree = memory(&format!("[{objects}]"));
        assert!(tree >= 1000 * (own + member + BLOCK), "{tree}");
        let keys: Vec<String> = (0..100).map(|n| format!("\"key{n}\":{n}")).collect();
        let hashed = memory(&format!("{{{}}}", keys.join(",")));
        assert!(hashed >= own + 100 * (member + 8), "{hashed}");
        let form = r#"{"$binary":"AAAA"}"#;
        let bytes = parse(form, &JsonLimits::default())
            .unwrap()
            .decode()
            .unwrap();
        assert!(bytes.memory() >= own + 3 + BLOCK);
    }
}
