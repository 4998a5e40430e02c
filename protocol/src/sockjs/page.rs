//! The two pages that SockJS serves. Clients compare them with the expected text, so the protocol
//! fixes that text.

use super::form::Callback;

/// The page of `iframe*.html`, which loads the client's script from `script`.
pub fn iframe(script: &str) -> String {
    let script = script
        .replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;");
    format!(
        r#"<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="{script}"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>"#
    )
}

/// Browsers begin to show a page when they have this many bytes.
const SHOWN_FROM: usize = 1024;

/// The beginning of the page to which `htmlfile` appends frames. The page passes them to the
/// function `callback` of its parent.
pub(super) fn html_file(callback: &Callback) -> String {
    let callback = callback.as_str();
    let mut page = format!(
        r#"<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.{callback};
    c.start();
    function p(d) {{c.message(d);}};
    window.onload = function() {{c.stop();}};
  </script>
"#
    );
    let missing = SHOWN_FROM.saturating_sub(page.len());
    page.push_str(&" ".repeat(missing));
    page.push_str("\r\n\r\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_url_cannot_leave_its_attribute() {
        let page = iframe("/a?b&c\"><x");
        assert!(
            page.contains(r#"<script src="/a?b&amp;c&quot;>&lt;x"></script>"#),
            "{page}"
        );
    }

    #[test]
    fn the_page_of_htmlfile_is_long_enough_to_be_shown() {
        let page = html_file(&Callback::of_query("c=cb").unwrap());
        assert!(
            page.contains("var c = parent.cb;") && page.len() > 1024,
            "{page}"
        );
    }
}
