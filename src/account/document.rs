//! A user's document as Meteor lays it out, wherever it is kept: where its tokens are, and what of it a path leads to.

use updraft_protocol::ejson::{Date, Object, Value};

use super::token::{HashedToken, LoginToken, TokenKey};

/// The records of a user's tokens.
pub(super) fn records(document: &Object) -> &[Value] {
    let services = document.get("services");
    let records = services.and_then(|it| it.get("resume")?.get("loginTokens")?.as_array());
    records.unwrap_or_default()
}

/// Whether a record is that of a token.
pub(super) fn is_token(record: &Value, token: TokenKey<'_>) -> bool {
    let (member, text) = match token {
        TokenKey::Hashed(hashed) => ("hashedToken", hashed.as_str()),
        TokenKey::Clear(token) => ("token", token.as_str()),
    };
    record.get(member).and_then(Value::as_str) == Some(text)
}

/// What a record says, unless it has no hash.
pub(super) fn hashed(record: &Value) -> Option<LoginToken> {
    let hashed = record.get("hashedToken")?.as_str()?;
    Some(LoginToken {
        hashed: HashedToken::from_stored(hashed),
        when: when(record),
    })
}

/// A record's `when`, a date or a number; without one it is as old as can be.
pub(super) fn when(record: &Value) -> Date {
    let when = record.get("when");
    let date = when.and_then(Value::as_date);
    let number = when.and_then(Value::as_f64).unwrap_or_default();
    date.unwrap_or_else(|| Date::from_millis(number))
}

/// What of a document the paths lead to, in the document's order.
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
