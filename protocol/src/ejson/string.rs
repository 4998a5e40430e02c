//! JSON string literals: how they are written, and which bytes need no escape.

/// Appends a JSON string literal with the escapes of JavaScript's `JSON.stringify` and no others.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    write_escaped(text, out);
    out.push('"');
}

/// As [`write_string`], for code points; a lone surrogate is written as its escape.
pub(super) fn write_code_points(points: impl Iterator<Item = u32>, out: &mut String) {
    out.push('"');
    for point in points {
        match char::from_u32(point) {
            Some(character) => write_escaped(character.encode_utf8(&mut [0; 4]), out),
            None => out.push_str(&format!("\\u{point:04x}")),
        }
    }
    out.push('"');
}

fn write_escaped(mut text: &str, out: &mut String) {
    loop {
        let (ordinary, rest) = text
            .split_at_checked(ordinary_bytes(text.as_bytes()))
            .unwrap_or((text, ""));
        out.push_str(ordinary);
        let mut rest = rest.chars();
        match rest.next() {
            None => return,
            Some('\u{8}') => out.push_str("\\b"),
            Some('\t') => out.push_str("\\t"),
            Some('\n') => out.push_str("\\n"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\r') => out.push_str("\\r"),
            Some(control @ ..' ') => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            Some(other) => out.extend(['\\', other]),
        }
        text = rest.as_str();
    }
}

/// How many bytes at the start need no escape: no quote, no backslash, no control character.
pub(super) fn ordinary_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // Eight bytes at a time: the subtraction borrows into the high bit of a byte that is too
        // small. A borrow can only mark bytes above one that is really marked, and only the lowest
        // mark is used.
        let word = u64::from_le_bytes(*word);
        let below = |word: u64, limit: u64| word.wrapping_sub(ONES.wrapping_mul(limit)) & !word;
        let quote = below(word ^ ONES.wrapping_mul(u64::from(b'"')), 1);
        let backslash = below(word ^ ONES.wrapping_mul(u64::from(b'\\')), 1);
        let marked = (below(word, 0x20) | quote | backslash) & HIGH;
        if marked != 0 {
            return index * 8 + (marked.trailing_zeros() / 8) as usize;
        }
    }
    let ordinary = rest
        .iter()
        .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20));
    words.len() * 8 + ordinary.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_json_stringify_does() {
        let mut out = String::new();
        write_string(
            "a\u{0}\u{1f}\u{7f}\u{8}\t\n\u{b}\u{c}\r\"\\/\u{2029}😀",
            &mut out,
        );
        assert_eq!(
            out,
            "\"a\\u0000\\u001f\u{7f}\\b\\t\\n\\u000b\\f\\r\\\"\\\\/\u{2029}😀\""
        );
    }

    #[test]
    fn words_find_what_bytes_find() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=255 {
                    for around in [b'a', 0x7f, 0x80, 0xff, b'"' + 1, b'\\' + 1, 0x20] {
                        let mut bytes = vec![around; length];
                        bytes[place] = byte;
                        let slow = bytes
                            .iter()
                            .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
                            .count();
                        assert_eq!(ordinary_bytes(&bytes), slow, "{bytes:?}");
                    }
                }
            }
        }
    }
}
