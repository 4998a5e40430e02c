//! Numbers as JavaScript prints them.

/// Appends a finite number, −0 as `0`.
pub(super) fn write_number(number: f64, out: &mut String) {
    out.push_str(ryu_js::Buffer::new().format_finite(number));
}

/// JavaScript's `String(number)`.
pub(super) fn number_text(number: f64) -> String {
    ryu_js::Buffer::new().format(number).to_owned()
}
