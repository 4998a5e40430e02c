//! Decimal numbers, which the mongo package adds to EJSON. They are kept as text and compared by
//! value, and never computed with.

use std::fmt;

use super::ParseError;

/// A decimal number of any precision, as the text in which it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal(String);

impl Decimal {
    /// Parses `-12.5e3`, `Infinity`, `NaN` and similar texts.
    ///
    /// # Errors
    ///
    /// If the text is not a number in decimal notation.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let magnitude = text.strip_prefix(['+', '-']).unwrap_or(text);
        if matches!(magnitude, "Infinity" | "NaN") || split(magnitude).is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::ejson("not a decimal number"))
        }
    }

    /// The number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are the same number, for example `1.50` and `15e-1`. NaN equals NaN.
    pub fn same_number(&self, other: &Self) -> bool {
        self.0 == other.0 || self.normal() == other.normal()
    }

    /// The sign, the digits without zeros at either end, and the power of ten of the last digit.
    fn normal(&self) -> Option<(bool, String, i64)> {
        let magnitude = self.0.strip_prefix(['+', '-']).unwrap_or(&self.0);
        let Some((whole, fraction, exponent)) = split(magnitude) else {
            return Some((
                self.0.starts_with('-') && magnitude != "NaN",
                magnitude.to_owned(),
                0,
            ));
        };
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_end_matches('0');
        let dropped = i64::try_from(digits.len().checked_sub(significant.len())?).ok()?;
        let digits = significant.trim_start_matches('0');
        if digits.is_empty() {
            return Some((false, String::new(), 0));
        }
        let last = exponent
            .checked_sub(i64::try_from(fraction.len()).ok()?)?
            .checked_add(dropped)?;
        Some((self.0.starts_with('-'), digits.to_owned(), last))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Digits before the point, digits after it, exponent.
fn split(magnitude: &str) -> Option<(&str, &str, i64)> {
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (magnitude, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction) && whole.len().max(fraction.len()) > 0)
        .then_some((whole, fraction, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        let same = |a, b| {
            Decimal::parse(a)
                .unwrap()
                .same_number(&Decimal::parse(b).unwrap())
        };
        for (a, b) in [
            ("1.50", "15e-1"),
            ("0", "-0.000e7"),
            ("100", "1E2"),
            ("+1", "1"),
            ("NaN", "-NaN"),
            (".5", "0.5"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("1", "-1"),
            ("10", "1"),
            ("Infinity", "-Infinity"),
            ("0.1", "0.10000000000000000000000001"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
        for text in [
            "",
            "-",
            ".",
            "1x",
            "e5",
            "--1",
            "1e",
            "1 ",
            "infinity",
            "1e99999999999999999999",
            "1.2.3",
        ] {
            assert!(Decimal::parse(text).is_err(), "{text}");
        }
    }
}
