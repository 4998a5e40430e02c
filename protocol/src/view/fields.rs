//! The fields of a document, as publications hand them over and sessions keep them: one copy, however many sessions show
//! it.

use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::Error as _;

use crate::ejson::{self, Object, SerdeError, Text, Value};

/// The fields of a document: immutable and reference-counted.
///
/// A clone is the same fields, and a session that shows them keeps no copy: who publishes one document to many sessions
/// makes its fields once and hands out clones. `_id` is not among them, it travels beside the fields.
///
/// ```
/// use updraft_protocol::view::Fields;
/// use updraft_protocol::ejson;
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
    /// It does not.
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

    /// How many hold this copy.
    #[cfg(test)]
    pub(super) fn copies(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Sets a field, in a copy of its own if the fields are shared.
    pub(super) fn set(&mut self, key: Text, value: Value) {
        Arc::make_mut(&mut self.0).insert(key, value);
    }

    /// Takes a field out, of a copy of its own if the fields are shared.
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

/// What can be published as the fields of a document: [`Fields`], which are shared, and anything that serializes to an
/// object.
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

// `Fields` are not `Serialize`, or they could be taken for any other value here and be copied.
impl<T: Serialize> IntoFields for T {
    fn into_fields(self) -> Result<Fields, SerdeError> {
        Fields::new(self)
    }
}
