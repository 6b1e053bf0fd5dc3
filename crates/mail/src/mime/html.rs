//! Text from HTML, for people and for search: one pass over the tags, no tree, no layout, linear for any input.
//!
//! Never for a browser: nothing here makes HTML safe. A layout engine was tried (html2text 0.17.4); hostile mail made
//! it panic, and made the tree under it grow with the square of the input.

mod tags;
mod writer;

use tags::{Tag, after_raw_text, next_tag};
use writer::Writer;

/// The text of an HTML document of at most `limit` bytes; what is longer is cut first.
pub(crate) fn to_text(html: &str, limit: usize) -> String {
    let mut rest = &html[..html.floor_char_boundary(limit)];
    let mut writer = Writer::default();
    while !rest.is_empty() {
        let open = rest.find('<').unwrap_or(rest.len());
        writer.text(&rest[..open]);
        rest = &rest[open..];
        if rest.is_empty() {
            break;
        }
        match next_tag(rest) {
            Tag::Element { name, attributes, closing, after } => {
                let name = name.to_ascii_lowercase();
                rest = after;
                if !closing && matches!(name.as_str(), "script" | "style" | "title") {
                    rest = after_raw_text(rest, &name);
                }
                element(&mut writer, &name, attributes, closing);
            }
            Tag::Nothing { after } => rest = after,
            Tag::Text => {
                writer.text("<");
                rest = &rest[1..];
            }
        }
    }
    writer.finish()
}

/// What a tag does to the text around it; what is not named here is of a line and does nothing.
fn element(writer: &mut Writer, name: &str, attributes: &str, closing: bool) {
    match name {
        "br" => writer.line_break(),
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "table" | "dl" => writer.lines(2),
        "div" | "tr" | "section" | "article" | "header" | "footer" | "main" | "nav" | "aside" | "address"
        | "form" | "fieldset" | "center" | "dt" | "dd" | "caption" | "option" | "body" => writer.lines(1),
        "td" | "th" => writer.space(),
        "hr" => writer.rule(),
        "pre" => writer.preformatted(!closing),
        "blockquote" => writer.quote(!closing),
        "ul" | "ol" if closing => writer.end_list(),
        "ul" | "ol" => writer.begin_list(name == "ol"),
        "li" if !closing => writer.item(),
        "a" if closing => writer.end_link(),
        "a" => writer.begin_link(tags::attribute(attributes, "href").unwrap_or_default()),
        "img" => {
            if let Some(words) = tags::attribute(attributes, "alt") {
                writer.text(words);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::to_text;

    #[test]
    fn elements_become_what_people_type() {
        for (html, text) in [
            ("<p>one</p><p>two</p>", "one\n\ntwo"),
            ("one<br>two<br/><br />three", "one\ntwo\n\nthree"),
            ("<div>one</div>\n\n  <div>two\n words</div>", "one\ntwo words"),
            ("a <b>bold</b><i>er</i> word", "a bolder word"),
            (
                "Caf&eacute; &amp; bar &lt;3 &#8364;&#x20AC; &unknown; & &copy",
                "Café & bar <3 €€ &unknown; & &copy",
            ),
            ("<ul><li>one<li>two</ul>after", "* one\n* two\n\nafter"),
            (
                "<ol><li>one</li><li>two<ul><li>inner</li></ul></li><li>three</li></ol>",
                "1. one\n2. two\n* inner\n3. three",
            ),
            (
                "<a href='https://example.com/x?a=1&amp;b=2'>a link</a>.",
                "a link <https://example.com/x?a=1&b=2>.",
            ),
            ("<a href=\"https://example.com\">https://example.com</a>", "https://example.com"),
            ("<a href=javascript:alert(1)>click</a> <a name=x>here</a>", "click here"),
            (
                "<blockquote>said<br>that<blockquote>before</blockquote></blockquote>no",
                "> said\n> that\n\n> > before\n\nno",
            ),
            ("<pre>a  b\n  c</pre>d", "a  b\n  c\n\nd"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
            ("<title>t</title><style>p > a {}</style><script>if (a<b) x</script>seen", "seen"),
            ("<SCRIPT>hidden</Script >seen<!-- hid > den -->too<![CDATA[x]]>", "seentoo"),
            ("<img src=x alt='A &quot;logo&quot;'> 1 < 2 <> 3", "A \"logo\" 1 < 2 <> 3"),
            ("one<hr>two", "one\n\n----\n\ntwo"),
            ("x&nbsp;&nbsp;y&#0;&#7;z\u{200b}", "x yz"),
            ("cut <a href='never closed", "cut"),
            ("", ""),
        ] {
            assert_eq!(to_text(html, usize::MAX), text, "{html}");
        }
    }

    #[test]
    fn a_limit_cuts_between_two_characters() {
        assert_eq!(to_text("ééé", 3), "é");
    }
}
