//! How a frame is written in an HTTP response, by transport.

use super::Receiving;
use super::form::{BadCallback, Callback};
use super::frame::escape;
use super::page::html_file;

/// The format of a response that carries frames.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a host must answer all that there is"
)]
pub enum Wrapping {
    /// One line, which ends the response.
    Xhr,
    /// One line for each frame.
    XhrStreaming,
    /// One event for each frame.
    EventSource,
    /// One script element for each frame.
    HtmlFile(Callback),
    /// One script, which ends the response.
    Jsonp(Callback),
}

impl Wrapping {
    /// The format that a request asks for; some take a callback from the query.
    ///
    /// # Errors
    ///
    /// The callback is missing, or is not a name.
    pub fn new(receiving: Receiving, query: &str) -> Result<Self, BadCallback> {
        Ok(match receiving {
            Receiving::Xhr => Self::Xhr,
            Receiving::XhrStreaming => Self::XhrStreaming,
            Receiving::EventSource => Self::EventSource,
            Receiving::HtmlFile => Self::HtmlFile(Callback::of_query(query)?),
            Receiving::Jsonp => Self::Jsonp(Callback::of_query(query)?),
        })
    }

    /// The response's `Content-Type`.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Xhr | Self::XhrStreaming | Self::Jsonp(_) => {
                "application/javascript; charset=UTF-8"
            }
            Self::EventSource => "text/event-stream",
            Self::HtmlFile(_) => "text/html; charset=UTF-8",
        }
    }

    /// Whether the response ends with its first frame.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Xhr | Self::Jsonp(_))
    }

    /// What precedes the first frame; empty for a single frame.
    pub fn prelude(&self) -> String {
        match self {
            Self::Xhr | Self::Jsonp(_) => String::new(),
            // Some browsers pass nothing on before they have this much.
            Self::XhrStreaming => "h".repeat(2048) + "\n",
            Self::EventSource => String::from("\r\n"),
            Self::HtmlFile(callback) => html_file(callback),
        }
    }

    /// Puts a frame into its wrapping.
    pub fn wrap(&self, frame: &[u8]) -> Vec<u8> {
        match self {
            Self::Xhr | Self::XhrStreaming => [frame, b"\n"].concat(),
            Self::EventSource => {
                let mut out = b"data: ".to_vec();
                write_without_percent(frame, &mut out);
                out.extend_from_slice(b"\r\n\r\n");
                out
            }
            Self::HtmlFile(_) => {
                let mut out = b"<script>\np(".to_vec();
                write_string(frame, &mut out);
                out.extend_from_slice(b");\n</script>\r\n");
                out
            }
            Self::Jsonp(callback) => {
                let mut out = format!("/**/{}(", callback.as_str()).into_bytes();
                write_string(frame, &mut out);
                out.extend_from_slice(b");\r\n");
                out
            }
        }
    }
}

/// The client decodes percent escapes before it parses the JSON. `%` can only stand in a JSON
/// string, so it is written as a JSON escape: that also reaches clients that decode nothing.
fn write_without_percent(frame: &[u8], out: &mut Vec<u8>) {
    let mut parts = frame.split(|byte| *byte == b'%');
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        out.extend_from_slice(b"\\u0025");
        out.extend_from_slice(part);
    }
}

/// Writes a string of a script that may be part of a page: its text can neither end the script
/// element nor begin a comment.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut parts = text.split(|byte| *byte == b'<');
    escape(parts.next().unwrap_or_default(), out);
    for part in parts {
        out.extend_from_slice(b"\\u003c");
        escape(part, out);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(receiving: Receiving, frame: &str) -> String {
        let wrapping = Wrapping::new(receiving, "c=cb").unwrap();
        String::from_utf8(wrapping.wrap(frame.as_bytes())).unwrap()
    }

    #[test]
    fn each_transport_has_its_wrapping() {
        let frame = r#"a["x"]"#;
        assert_eq!(wrapped(Receiving::Xhr, frame), "a[\"x\"]\n");
        assert_eq!(wrapped(Receiving::XhrStreaming, frame), "a[\"x\"]\n");
        assert_eq!(
            wrapped(Receiving::EventSource, frame),
            "data: a[\"x\"]\r\n\r\n"
        );
        let script = "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n";
        assert_eq!(wrapped(Receiving::HtmlFile, frame), script);
        assert_eq!(
            wrapped(Receiving::Jsonp, frame),
            "/**/cb(\"a[\\\"x\\\"]\");\r\n"
        );
    }

    #[test]
    fn a_message_cannot_leave_its_script() {
        let script = wrapped(Receiving::HtmlFile, "a[\"</script><!--\"]");
        assert_eq!(
            script,
            "<script>\np(\"a[\\\"\\u003c/script>\\u003c!--\\\"]\");\n</script>\r\n"
        );
    }

    #[test]
    fn an_event_has_no_percent_escapes() {
        assert_eq!(
            wrapped(Receiving::EventSource, r#"a["%41 100%\\%"]"#),
            "data: a[\"\\u002541 100\\u0025\\\\\\u0025\"]\r\n\r\n"
        );
    }

    #[test]
    fn row_110_only_scripts_need_a_callback() {
        assert_eq!(Wrapping::new(Receiving::Xhr, ""), Ok(Wrapping::Xhr));
        for receiving in [Receiving::HtmlFile, Receiving::Jsonp] {
            assert_eq!(Wrapping::new(receiving, ""), Err(BadCallback::Missing));
            assert_eq!(
                Wrapping::new(receiving, "c=a%28"),
                Err(BadCallback::Invalid)
            );
        }
    }

    #[test]
    fn preludes() {
        let prelude = |receiving| Wrapping::new(receiving, "c=cb").unwrap().prelude();
        assert_eq!(prelude(Receiving::Xhr) + &prelude(Receiving::Jsonp), "");
        assert_eq!(prelude(Receiving::XhrStreaming), "h".repeat(2048) + "\n");
        assert_eq!(prelude(Receiving::EventSource), "\r\n");
        assert!(prelude(Receiving::HtmlFile).ends_with("\r\n\r\n"));
    }
}
