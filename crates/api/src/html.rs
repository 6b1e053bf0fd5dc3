//! HTML that a stranger wrote, made safe before a browser sees it: no script, no form, no style of its own, and nothing
//! that is loaded from elsewhere, so that opening a mail tells nobody that it was opened.

use std::collections::HashSet;

/// The HTML without anything that acts or loads. Pictures keep only what the mail itself carries (`cid:`).
pub(crate) fn sanitized(html: &str) -> String {
    ammonia::Builder::default()
        .url_schemes(HashSet::from(["http", "https", "mailto", "tel", "cid"]))
        .attribute_filter(|element, attribute, value| {
            let loads = matches!((element, attribute), ("img", "src"));
            let remote = loads && !value.trim_start().to_ascii_lowercase().starts_with("cid:");
            (!remote && !matches!(attribute, "srcset" | "background" | "poster" | "cite"))
                .then(|| value.into())
        })
        // A path alone would lead to the application that shows the mail, which is not what its sender knows.
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .clean(html)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_and_nothing_is_loaded_from_elsewhere() {
        let html = r#"<p onclick="x()">Hi <script>alert(1)</script><img src="https://spy.test/p.gif" alt="logo">
            <img src="cid:picture@here"><a href="javascript:x()">bad</a> <a href="https://ok.test/">good</a>
            <a href="/log-out">path</a> <a href="//spy.test/">host</a>
            <form action="https://spy.test"><input name="password"></form><style>@import url(https://spy.test)</style>
            <iframe src="https://spy.test"></iframe><svg><image href="https://spy.test"/></svg></p>"#;
        let safe = sanitized(html);
        for bad in [
            "script",
            "onclick",
            "spy.test",
            "javascript",
            "log-out",
            "<form",
            "<input",
            "<style",
            "<iframe",
            "<svg",
        ] {
            assert!(!safe.contains(bad), "{bad} in {safe}");
        }
        assert!(safe.contains(r#"src="cid:picture@here""#), "{safe}");
        assert!(safe.contains(r#"href="https://ok.test/""#), "{safe}");
    }
}
