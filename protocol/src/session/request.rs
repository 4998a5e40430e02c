//! What a subscription asks for. It is kept while the subscription lives, to start it again when
//! the user changes. It is kept as text, which takes a tenth of the memory of the values.

use crate::ejson::{self, JsonLimits, Value};

/// The host's number of the publication, and the handler's parameters.
#[derive(Debug)]
pub(super) struct SubscriptionRequest {
    publication: usize,
    params: KeptParams,
}

#[derive(Debug)]
enum KeptParams {
    /// An array in EJSON; empty if there are no parameters.
    Text(Box<str>),
    /// Parameters with a value that has no text, such as an invalid date.
    Values(Box<[Value]>),
}

impl SubscriptionRequest {
    pub(super) fn new(publication: usize, params: &[Value]) -> Self {
        let mut text = String::new();
        for param in params {
            text.push(if text.is_empty() { '[' } else { ',' });
            ejson::write_ejson(param, &mut text);
        }
        if !text.is_empty() {
            text.push(']');
        }
        let params = if read(&text).as_deref() == Some(params) {
            KeptParams::Text(text.into())
        } else {
            KeptParams::Values(params.into())
        };
        Self {
            publication,
            params,
        }
    }

    pub(super) fn publication(&self) -> usize {
        self.publication
    }

    /// Bytes of the parameters while they are kept.
    pub(super) fn bytes(&self) -> usize {
        match &self.params {
            KeptParams::Text(text) => text.len(),
            KeptParams::Values(values) => values.iter().map(Value::memory).sum(),
        }
    }

    pub(super) fn params(&self) -> Vec<Value> {
        match &self.params {
            KeptParams::Text(text) => read(text).unwrap_or_default(),
            KeptParams::Values(values) => values.to_vec(),
        }
    }
}

fn read(text: &str) -> Option<Vec<Value>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    // The parameters were parsed within the limits, so their text is within them too.
    let limits = JsonLimits {
        depth: usize::MAX,
        keys: usize::MAX,
    };
    match ejson::parse(text, &limits).ok()?.decode_lenient() {
        Value::Array(params) => Some(params),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_back_as_they_were() {
        let texts = [
            "[]",
            r#"[{"channel":"c","2":null,"1":true}]"#,
            r#"["\ud800 alone",-0.5,1e300,{"$InfNaN":1},[[],{}]]"#,
            r#"[{"$date":1500000000123},{"$binary":"AAE="},{"$escape":{"$date":1}}]"#,
            r#"[{"$date":"no"}]"#,
            r#"[{"$type":"oid","$value":"0123456789abcdef01234567"},{"$regexp":"a","$flags":"i"}]"#,
        ];
        for (at, text) in texts.into_iter().enumerate() {
            let value = ejson::parse(text, &JsonLimits::default()).unwrap();
            let Value::Array(params) = value.decode_lenient() else {
                panic!("no array: {text}");
            };
            let request = SubscriptionRequest::new(0, &params);
            assert_eq!(request.params(), params, "{text}");
            let is_text = matches!(request.params, KeptParams::Text(_));
            assert_eq!(is_text, at != 4, "{text}");
        }
    }

    #[test]
    fn the_deepest_parameters_come_back() {
        let depth = JsonLimits::default().depth - 1;
        let text = format!("[{}{}]", "[".repeat(depth), "]".repeat(depth));
        let Ok(Value::Array(params)) = ejson::parse(&text, &JsonLimits::default()) else {
            panic!("no array");
        };
        assert_eq!(SubscriptionRequest::new(0, &params).params(), params);
    }
}
