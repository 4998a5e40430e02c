//! Numbers as JavaScript prints them.

/// Appends a finite number, −0 as `0`.
pub(super) fn write_number(number: f64, out: &mut String) {
    match integer(number) {
        // A fifth of the time, and most numbers are such.
        Some(integer) => out.push_str(itoa::Buffer::new().format(integer)),
        None => out.push_str(ryu_js::Buffer::new().format_finite(number)),
    }
}

/// JavaScript's `String(number)`.
pub(super) fn number_text(number: f64) -> String {
    ryu_js::Buffer::new().format(number).to_owned()
}

/// The integer that a double is, if it is one that every integer near it is a double too.
pub(super) fn integer(number: f64) -> Option<i64> {
    const SAFE: f64 = 9_007_199_254_740_991.0;
    (number.abs() <= SAFE && number.fract() == 0.0).then_some(number as i64)
}
