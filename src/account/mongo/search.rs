//! Finds users whose name or address has other case as Meteor does: with patterns that can use an
//! index.

use mongodb::bson::{Bson, Document, Regex, doc};

use crate::base::error::Result;

/// How many characters are looked up in the index. Each doubles the number of patterns.
const PREFIX: usize = 4;

/// A query for the documents that have this text at a path, ignoring case.
///
/// A pattern that ignores case reads the whole index. So the first characters are looked up in
/// every combination of cases.
pub(super) fn without_case(path: &str, text: &str) -> Result<Document> {
    let mut prefixes = vec![String::new()];
    for character in text.chars().take(PREFIX) {
        let lower: String = character.to_lowercase().collect();
        let upper: String = character.to_uppercase().collect();
        let other = Some(&upper).filter(|upper| **upper != lower);
        prefixes = [Some(&lower), other]
            .into_iter()
            .flatten()
            .flat_map(|case| prefixes.iter().map(move |prefix| format!("{prefix}{case}")))
            .collect();
    }
    let prefixes: Vec<Document> = prefixes
        .iter()
        .map(|prefix| Ok(doc! { path: pattern(format!("^{}", escaped(prefix)), "")? }))
        .collect::<Result<_>>()?;
    let whole = pattern(format!("^{}$", escaped(text)), "i")?;
    Ok(doc! { "$and": [{ "$or": prefixes }, { path: whole }] })
}

fn pattern(pattern: String, options: &str) -> Result<Bson> {
    Ok(Bson::RegularExpression(Regex {
        pattern: pattern.try_into()?,
        options: options.try_into()?,
    }))
}

/// Escapes a text, so that the pattern matches only this text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // BSON would end the pattern there.
            '\0' => out.push_str(r"\x00"),
            _ if character.is_ascii_punctuation() => out.extend(['\\', character]),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_asked_for_each_case_of_the_first_characters() {
        let regex = |pattern: &str, options| super::pattern(pattern.into(), options).unwrap();
        let prefixes = ["^a\\.b", "^A\\.b", "^a\\.B", "^A\\.B"];
        let prefixes = prefixes.map(|prefix| doc! { "username": regex(prefix, "") });
        let whole = doc! { "username": regex("^a\\.b$", "i") };
        let expected = doc! { "$and": [{ "$or": prefixes.to_vec() }, whole] };
        assert_eq!(without_case("username", "a.b").unwrap(), expected);
    }

    #[test]
    fn row_067_what_a_client_sends_is_never_a_pattern_of_its_own() {
        assert_eq!(escaped("^.*$|(é)"), r"\^\.\*\$\|\(é\)");
        assert_eq!(escaped("a\0b"), r"a\x00b");
        assert!(without_case("username", "\0").is_ok());
        assert!(without_case("username", "").is_ok());
    }
}
