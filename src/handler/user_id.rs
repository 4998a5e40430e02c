//! The id of a user, as handlers get it.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The id of a user who has logged in.
///
/// It is a shared text: clones cost nothing, so that mapping functions may keep one. It goes where
/// a `&str` goes (`&user`), and can be part of a channel, id of a document, member of an `ejson!`
/// and result of a method.
///
/// ```
/// # use updraft::prelude::*;
/// /// What others say.
/// async fn heard(vent: Vent) -> Result<()> {
///     let Some(user) = vent.user_id() else {
///         return Ok(()); // ready and silent; runs again at login
///     };
///     let others = move |message: &Message| {
///         let by = message.get("by").and_then(Value::as_str)?;
///         (user != by).then(|| message.event())
///     };
///     vent.on("said", others).await
/// }
///
/// async fn whoami(call: Call) -> Result<Value> {
///     Ok(ejson!({ "user": call.user_id() }))
/// }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self(id)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for UserId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for UserId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for UserId {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for UserId {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl From<&str> for UserId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for UserId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.as_str().to_owned()
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use updraft_protocol::ejson;

    use super::*;

    #[test]
    fn found_316_an_id_is_shared_and_goes_where_a_text_goes() {
        let shared: Arc<str> = "ada".into();
        let (id, other) = (UserId::new(shared.clone()), UserId::new(shared.clone()));
        assert_eq!(id.as_str().as_ptr(), other.clone().as_str().as_ptr());
        assert!(id == "ada" && id == *"ada" && id == other && id != "bob");
        assert_eq!(ejson::to_value(&Some(&id)).unwrap(), "ada".into());
        assert_eq!(format!("{id} {id:?}"), r#"ada "ada""#);
        assert_eq!(String::from(id), "ada");
    }
}
