//! Numbers as JavaScript reads and prints them.

/// The double nearest to a JSON number; out of range it is infinite.
pub(super) fn read_number(digits: &str) -> f64 {
    // An integer of up to fifteen digits is exact, and most numbers are such integers.
    let short = |number: &str| {
        (number.len() <= 15)
            .then(|| number.parse::<u64>().ok())
            .flatten()
    };
    match (short(digits), digits.strip_prefix('-').and_then(short)) {
        (Some(number), _) => number as f64,
        (None, Some(number)) => -(number as f64),
        (None, None) => digits.parse().unwrap_or(f64::NAN),
    }
}

/// Appends a finite number, −0 as `0`.
pub(super) fn write_number(number: f64, out: &mut String) {
    match integer(number) {
        // Takes a fifth of the time, and most numbers are integers.
        Some(integer) => out.push_str(itoa::Buffer::new().format(integer)),
        None => out.push_str(ryu_js::Buffer::new().format_finite(number)),
    }
}

/// JavaScript's `String(number)`.
pub(super) fn number_text(number: f64) -> String {
    ryu_js::Buffer::new().format(number).to_owned()
}

/// The largest integer up to which all integers are doubles, JavaScript's `MAX_SAFE_INTEGER`.
const SAFE: f64 = 9_007_199_254_740_991.0;

/// Whether the double may stand for any of several integers.
pub(super) fn is_inexact_integer(number: f64) -> bool {
    number.abs() > SAFE && number.fract() == 0.0
}

/// The integer that a double represents, if all integers near it are doubles too.
pub(super) fn integer(number: f64) -> Option<i64> {
    (number.abs() <= SAFE && number.fract() == 0.0).then_some(number as i64)
}
