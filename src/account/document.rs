//! A user's document as Meteor lays it out, in any store: its tokens, and the parts that paths
//! select.

use updraft_protocol::ejson::{Date, Object, Value};

use super::token::{HashedToken, LoginToken, TokenKey};

/// The records of a user's tokens.
pub(super) fn records(document: &Object) -> &[Value] {
    let services = document.get("services");
    let records = services.and_then(|it| it.get("resume")?.get("loginTokens")?.as_array());
    records.unwrap_or_default()
}

/// Whether a record belongs to a token.
pub(super) fn is_token(record: &Value, token: TokenKey<'_>) -> bool {
    let (member, text) = match token {
        TokenKey::Hashed(hashed) => ("hashedToken", hashed.as_str()),
        TokenKey::Clear(token) => ("token", token.as_str()),
    };
    record.get(member).and_then(Value::as_str) == Some(text)
}

/// The token of a record, unless the record has no hash.
pub(super) fn hashed(record: &Value) -> Option<LoginToken> {
    let hashed = record.get("hashedToken")?.as_str()?;
    Some(LoginToken {
        hashed: HashedToken::from_stored(hashed),
        when: when(record),
    })
}

/// A record's `when`, a date or a number. Without one the record is as old as possible.
pub(super) fn when(record: &Value) -> Date {
    let when = record.get("when");
    let date = when.and_then(Value::as_date);
    let number = when.and_then(Value::as_f64).unwrap_or_default();
    date.unwrap_or_else(|| Date::from_millis(number))
}

/// The parts of a document that the paths select, in the document's order.
pub(super) fn restricted(document: &Object, paths: &[&str]) -> Object {
    let mut out = Object::new();
    for (key, value) in document {
        let name = key.to_string_lossy();
        let inner = |path: &&str| {
            let rest = path.strip_prefix(&*name)?;
            rest.strip_prefix('.').map(str::to_owned)
        };
        if paths.contains(&&*name) {
            out.insert(key.clone(), value.clone());
            continue;
        }
        let inner: Vec<String> = paths.iter().filter_map(inner).collect();
        if let (Some(value), false) = (value.as_object(), inner.is_empty()) {
            let inner: Vec<&str> = inner.iter().map(String::as_str).collect();
            out.insert(key.clone(), Value::Object(restricted(value, &inner)));
        }
    }
    out
}
