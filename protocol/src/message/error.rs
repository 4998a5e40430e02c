//! The error object of `result` and `nosub`, as Meteor prints it.

use crate::ejson::{self, Value};

/// An error as a client may see it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WireError {
    /// Meteor's `error`: a string, or one of the numbers 400, 403, 404, 500.
    pub error: ErrorCode,
    /// A sentence for people. Undefined is omitted, null is sent.
    pub reason: Value,
    /// Any value, printed as plain JSON, not EJSON. Undefined is omitted, null is sent.
    pub details: Value,
}

/// The code of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `"error":404`
    Number(u16),
    /// `"error":"not-allowed"`
    Text(Box<str>),
}

impl WireError {
    /// An error with a code and a reason.
    pub fn new(error: impl Into<ErrorCode>, reason: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            reason: Value::from(reason.into()),
            details: Value::Undefined,
        }
    }

    /// An error with only a code.
    pub fn bare(error: impl Into<ErrorCode>) -> Self {
        Self {
            error: error.into(),
            reason: Value::Undefined,
            details: Value::Undefined,
        }
    }

    /// The same error with `details`.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// 500: the answer for every error that is not meant for clients.
    pub fn internal() -> Self {
        Self::new(500, "Internal server error")
    }

    /// 404 for a `sub`.
    pub fn publication_not_found(name: &str) -> Self {
        Self::new(404, format!("Subscription '{name}' not found"))
    }

    /// 404 for a `method`.
    pub fn method_not_found(name: &str) -> Self {
        Self::new(404, format!("Method '{name}' not found"))
    }

    /// `reason [error]`, or `[error]` without a reason.
    pub fn message(&self) -> String {
        match &self.reason {
            reason if reason.is_falsy() => format!("[{}]", self.error),
            Value::String(reason) => format!("{reason} [{}]", self.error),
            other => format!("{} [{}]", ejson::to_json(other), self.error),
        }
    }

    /// Appends the error object.
    pub(super) fn write(&self, out: &mut String) {
        out.push_str(r#"{"isClientSafe":true,"error":"#);
        match &self.error {
            ErrorCode::Number(number) => out.push_str(&number.to_string()),
            ErrorCode::Text(text) => ejson::write_string(text, out),
        }
        for (key, value) in [
            (r#","reason":"#, &self.reason),
            (r#","details":"#, &self.details),
        ] {
            if !value.is_undefined() {
                out.push_str(key);
                ejson::write_json(value, out);
            }
        }
        out.push_str(r#","message":"#);
        ejson::write_string(&self.message(), out);
        out.push_str(r#","errorType":"Meteor.Error"}"#);
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl From<u16> for ErrorCode {
    fn from(number: u16) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for ErrorCode {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for ErrorCode {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(error: &WireError) -> String {
        let mut out = String::new();
        error.write(&mut out);
        out
    }

    #[test]
    fn ddp_140_null_is_kept_undefined_is_left_out() {
        let error = WireError {
            error: "c".into(),
            reason: Value::Null,
            details: Value::Null,
        };
        assert_eq!(
            printed(&error),
            r#"{"isClientSafe":true,"error":"c","reason":null,"details":null,"message":"[c]","errorType":"Meteor.Error"}"#
        );
        assert_eq!(
            printed(&WireError::bare("c")),
            r#"{"isClientSafe":true,"error":"c","message":"[c]","errorType":"Meteor.Error"}"#
        );
    }
}
