//! A path into the JSON of a line, as `.customer.id`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail};
use updraft::{Value, ejson};

/// The largest whole number that is told from the next one, 2^53 - 1.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;

/// Members and elements, from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
}

impl Path {
    /// What stands there, as the text of a key or id.
    ///
    /// # Errors
    ///
    /// Why it can be none.
    pub(super) fn text_in(&self, value: &Value) -> Result<String, String> {
        let found = self.steps.iter().try_fold(value, |value, step| match step {
            Step::Member(name) => value.get(name),
            Step::Element(index) => value.as_array()?.get(*index),
        });
        let text = match found {
            None => return Err(format!("it has no {self}")),
            Some(Value::String(text)) => match text.to_str() {
                Some(text) => text.to_owned(),
                None => return Err(format!("{self} is no text: it has half of a character")),
            },
            Some(number @ Value::Number(_)) => {
                // Two ids that are read as one number would be one key, or one record.
                if !number.as_f64().is_some_and(|it| it.abs() <= MAX_EXACT) {
                    let why = "is a number that is not exact; write it as a text";
                    return Err(format!("{self} {why}"));
                }
                ejson::to_json(number)
            }
            Some(Value::Bool(is)) => is.to_string(),
            Some(Value::ObjectId(id)) => id.to_hex(),
            Some(Value::Date(date)) => date.to_iso().unwrap_or_default(),
            Some(Value::Null) => return Err(format!("{self} is null")),
            Some(_) => return Err(format!("{self} is no text and no number")),
        };
        if text.is_empty() {
            return Err(format!("{self} is empty"));
        }
        Ok(text)
    }
}

impl FromStr for Path {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let step;
            (step, rest) = first_step(rest)?;
            steps.push(step);
        }
        if steps.is_empty() {
            bail!("its form is .id, .customer.id or .items[0]");
        }
        Ok(Self {
            text: text.to_owned(),
            steps,
        })
    }
}

/// The first step of a path, and what follows it.
fn first_step(path: &str) -> anyhow::Result<(Step, &str)> {
    if let Some(quoted) = path.strip_prefix(".\"") {
        let (name, rest) = quoted.split_once('"').context("a quote is not closed")?;
        return Ok((Step::Member(name.to_owned()), rest));
    }
    if let Some(element) = path.strip_prefix('[') {
        let (index, rest) = element.split_once(']').context("a bracket is not closed")?;
        let index = index
            .parse()
            .context("between brackets is a number, from 0")?;
        return Ok((Step::Element(index), rest));
    }
    let member = path
        .strip_prefix('.')
        .context("its form is .id, .customer.id or .items[0]")?;
    let end = member.find(['.', '[', '"']).unwrap_or(member.len());
    let (name, rest) = member.split_at(end);
    if name.is_empty() || rest.starts_with('"') {
        bail!("a member has no name; its form is .id, or .\"a name\"");
    }
    Ok((Step::Member(name.to_owned()), rest))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft::{Date, ObjectId};

    #[test]
    fn a_path_finds_texts_and_numbers() {
        let value = ejson!({
            "id": 7,
            "customer": { "a.b": "x", "": "none" },
            "items": [{ "id": "first" }, null, ""],
            "when": (Date::from_millis(0.0)),
            "_id": (ObjectId::from_bytes([1; 12])),
            "paid": true,
            "largest": (9_007_199_254_740_991_f64),
            "large": (9_007_199_254_740_992_f64),
            "small": (-1e300),
            "none": (f64::NAN),
        });
        let text = |path: &str| path.parse::<Path>().unwrap().text_in(&value);
        for (path, expected) in [
            (".id", Ok("7")),
            (".\"id\"", Ok("7")),
            (".customer.\"a.b\"", Ok("x")),
            (".customer.\"\"", Ok("none")),
            (".items[0].id", Ok("first")),
            (".when", Ok("1970-01-01T00:00:00.000Z")),
            ("._id", Ok("010101010101010101010101")),
            (".paid", Ok("true")),
            (".largest", Ok("9007199254740991")),
            (
                ".large",
                Err(".large is a number that is not exact; write it as a text"),
            ),
            (
                ".small",
                Err(".small is a number that is not exact; write it as a text"),
            ),
            (
                ".none",
                Err(".none is a number that is not exact; write it as a text"),
            ),
            (".items[1]", Err(".items[1] is null")),
            (".items[2]", Err(".items[2] is empty")),
            (".items[3]", Err("it has no .items[3]")),
            (".items", Err(".items is no text and no number")),
            (".id.x", Err("it has no .id.x")),
            (".id[0]", Err("it has no .id[0]")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(text(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [
            "", "id", ".", "..id", ".a[", ".a[x]", ".a[-1]", ".\"a", ".a\"b\"", "$.a",
        ] {
            assert!(path.parse::<Path>().is_err(), "{path}");
        }
    }
}
