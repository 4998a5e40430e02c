//! The fields of a document, as publications pass them and sessions keep them: one copy, however
//! many sessions show it.

use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::Error as _;

use crate::ejson::{self, Object, SerdeError, Text, Value};

/// The fields of a document: immutable and reference-counted.
///
/// A clone shares the fields, and a session that shows them keeps no copy. To publish one document
/// to many sessions, make its fields once and pass clones. `_id` is not one of them: the id is sent
/// beside the fields.
///
/// ```
/// # mod updraft { pub use updraft_protocol::{ejson, view::Fields}; }
/// use updraft::{Fields, ejson};
///
/// let fields = Fields::new(ejson!({ "_id": "x", "n": 1 }))?;
/// assert_eq!(fields.len(), 1);
/// # Ok::<(), ejson::SerdeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(Arc<Object>);

impl Fields {
    /// The fields of anything that serializes to an object.
    ///
    /// # Errors
    ///
    /// The value does not serialize to an object.
    pub fn new(fields: impl Serialize) -> Result<Self, SerdeError> {
        match ejson::to_value(&fields)? {
            Value::Object(fields) => Ok(Self::from(fields)),
            _ => Err(SerdeError::custom("the fields are not an object")),
        }
    }

    /// Whether both are the same copy.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many references to this copy exist.
    #[cfg(test)]
    pub(super) fn copies(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Sets a field. Shared fields are copied first.
    pub(super) fn set(&mut self, key: Text, value: Value) {
        Arc::make_mut(&mut self.0).insert(key, value);
    }

    /// Removes a field. Shared fields are copied first.
    pub(super) fn remove(&mut self, key: &Text) -> Option<Value> {
        if self.get_text(key).is_some() {
            Arc::make_mut(&mut self.0).remove_text(key)
        } else {
            None
        }
    }
}

impl From<Object> for Fields {
    fn from(mut fields: Object) -> Self {
        fields.remove("_id");
        Self(Arc::new(fields))
    }
}

impl Deref for Fields {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0
    }
}

/// What can be published as the fields of a document: [`Fields`], which are shared, and anything
/// that serializes to an object.
pub trait IntoFields {
    /// The fields.
    ///
    /// # Errors
    ///
    /// The value does not serialize to an object.
    fn into_fields(self) -> Result<Fields, SerdeError>;
}

impl IntoFields for Fields {
    fn into_fields(self) -> Result<Fields, SerdeError> {
        Ok(self)
    }
}

impl IntoFields for &Fields {
    fn into_fields(self) -> Result<Fields, SerdeError> {
        Ok(self.clone())
    }
}

// `Fields` do not implement `Serialize`: this implementation would apply to them too, and copy
// them.
impl<T: Serialize> IntoFields for T {
    fn into_fields(self) -> Result<Fields, SerdeError> {
        Fields::new(self)
    }
}
