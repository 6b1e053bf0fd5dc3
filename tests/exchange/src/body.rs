//! Bodies as Exchange shows them: HTML made of text, text made of HTML, and how it writes anew what it was given.

use crate::item::Body;
use crate::xml::Element;

/// The body in the form that was asked for.
pub(crate) fn element(name: &str, body: Option<&Body>, form: &str) -> Element {
    let (html, text) = match (body, form) {
        (None, "Text") => (false, String::new()),
        (None, _) => (true, String::new()),
        (Some(body), "Text") if body.html => (false, to_text(&body.text) + "\r\n"),
        (Some(body), "HTML") if !body.html => (true, to_html(&body.text)),
        (Some(body), _) => (body.html, body.text.clone()),
    };
    Element::text(name, text).attribute("BodyType", if html { "HTML" } else { "Text" })
}

/// Reads `<Body BodyType="…">`.
pub(crate) fn parse(element: &Element) -> Body {
    let html = element.value("BodyType").is_some_and(|kind| kind.eq_ignore_ascii_case("HTML"));
    Body { html, text: element.text.clone() }
}

/// What Exchange puts into the head of every page.
const META: &str = "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">";

/// What Exchange makes of HTML when it saves it: a `meta` of its own, and lines that end as it ends them.
pub(crate) fn rewritten(body: &Body) -> Body {
    if !body.html {
        let text = body.text.replace("\r\n", "\n").replace('\n', "\r\n").trim_end().to_owned();
        return Body { html: false, text: text + "\r\n" };
    }
    let inner = body.text.replace("\r\n", "\n").replace('\n', "\r\n");
    let text = match inner.to_lowercase().find("<head>") {
        Some(at) if !inner.contains(META) => {
            let (before, after) = inner.split_at(at + "<head>".len());
            format!("{before}\r\n{META}{after}")
        }
        Some(_) => inner,
        None => format!(
            "<html>\r\n<head>\r\n{META}\r\n</head>\r\n<body>\r\n{}\r\n</body>\r\n</html>\r\n",
            inner.trim_end()
        ),
    };
    Body { html: true, text }
}

fn to_html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let lines = escaped.replace("\r\n", "\n").replace('\n', "<br>\r\n");
    format!(
        "<html>\r\n<head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">\r\n\
         <meta name=\"Generator\" content=\"Microsoft Exchange Server\">\r\n<!-- converted from text -->\r\n\
         <style><!-- .EmailQuote {{ margin-left: 1pt; padding-left: 4pt; border-left: #800000 2px solid; }} --></style>\
         </head>\r\n<body>\r\n<font size=\"2\"><span style=\"font-size:11pt;\"><div class=\"PlainText\">{lines}</div>\
         </span></font>\r\n</body>\r\n</html>\r\n"
    )
}

/// Leaves tags out; what a person would read stays.
pub(crate) fn to_text(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let tag = &rest[at..];
        let Some(end) = tag.find('>') else {
            rest = "";
            break;
        };
        let name = tag[1..end].trim_start_matches('/').to_lowercase();
        let word = name.split([' ', '\r', '\n', '/']).next().unwrap_or_default();
        let skipped = ["style", "script", "head"].iter().find(|skipped| **skipped == word);
        if let Some(skipped) = skipped.filter(|_| !tag.starts_with("</")) {
            let close = format!("</{skipped}");
            let after = tag.to_lowercase().find(&close).map_or("", |at| &tag[at..]);
            rest = after.find('>').map_or("", |at| &after[at + 1..]);
            continue;
        }
        if ["br", "p", "div", "tr", "li"]
            .iter()
            .any(|block| name == *block || name.starts_with(&format!("{block} ")))
            && !out.is_empty()
            && !out.ends_with('\n')
        {
            out.push_str("\r\n");
        }
        rest = &tag[end + 1..];
    }
    out.push_str(rest);
    let out = out.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    out.replace("&#39;", "'").replace("&amp;", "&").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_made_of_the_other() {
        let html = Body {
            html: true,
            text: "<html><head><title>x</title></head><p>Hello &amp; <b>you</b></p></html>".into(),
        };
        assert_eq!(element("Body", Some(&html), "Text").text, "Hello & you\r\n");
        assert_eq!(element("Body", Some(&html), "Best").value("BodyType"), Some("HTML"));
        let text = Body { html: false, text: "a < b\nc".into() };
        assert!(element("Body", Some(&text), "HTML").text.contains("a &lt; b<br>\r\nc"));
        assert_eq!(element("Body", Some(&text), "Best").text, "a < b\nc");
    }

    #[test]
    fn a_body_that_was_rewritten_is_not_rewritten_again() {
        let once = rewritten(&Body { html: true, text: "<p>Hi</p>".into() });
        let twice = rewritten(&once);
        assert_eq!(once.text, twice.text);
    }
}
