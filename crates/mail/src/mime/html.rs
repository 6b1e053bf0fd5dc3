//! Text from HTML, for people and for search; it lays out small documents and only strips tags from the rest.
//!
//! Never for a browser: nothing here makes HTML safe.

mod plain;

use std::panic::{AssertUnwindSafe, catch_unwind};

use mail_parser::decoders::html::html_to_text;

/// How wide the text may run. Mail is read in windows that wrap, so this only bounds tables.
const WIDTH: usize = 120;
/// How deep elements may nest to be laid out. Real mail stays under a hundred, however many tables it has.
const LAYOUT_DEPTH: usize = 200;
/// How many tables may be laid out: their columns are measured again for each table around them.
const LAYOUT_TABLES: usize = 500;

/// The text of an HTML document of at most `limit` bytes; what is longer is cut first. Linear in time, except for a
/// layout whose size is bounded.
pub(crate) fn to_text(html: &str, limit: usize) -> String {
    let html = &html[..html.floor_char_boundary(limit)];
    let text = if fits_layout(html) { laid_out(html) } else { None };
    let text = text.unwrap_or_else(|| html_to_text(html));
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// A layout engine on hostile input may fail or, at worst, panic; then the tags are stripped instead.
fn laid_out(html: &str) -> Option<String> {
    let html = without_spans(html);
    let config = html2text::config::with_decorator(plain::Plain::default())
        .allow_width_overflow()
        .no_table_borders()
        .no_link_wrapping();
    catch_unwind(AssertUnwindSafe(|| config.string_from_read(html.as_slice(), WIDTH).ok())).ok().flatten()
}

/// Takes the attributes away by which a cell says how many columns and rows it fills: a number of any size that the
/// engine makes columns for (0.17.4 panics on one). Text has no use for them.
fn without_spans(html: &str) -> Vec<u8> {
    let mut bytes = html.as_bytes().to_vec();
    for at in 0..bytes.len().saturating_sub(7) {
        let word = &mut bytes[at..at + 7];
        if word.eq_ignore_ascii_case(b"colspan") || word.eq_ignore_ascii_case(b"rowspan") {
            word[..3].copy_from_slice(b"no-");
        }
    }
    bytes
}

/// Whether the nesting is such that a layout is cheap: start tags less end tags, at the deepest.
fn fits_layout(html: &str) -> bool {
    let bytes = html.as_bytes();
    let (mut depth, mut tables) = (0_usize, 0_usize);
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'<') {
        match bytes.get(at + 1) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(letter) if letter.is_ascii_alphabetic() => {
                let name: &[u8] = &bytes[at + 1..];
                let length = name.iter().take(12).take_while(|byte| byte.is_ascii_alphanumeric()).count();
                let name = name[..length].to_ascii_lowercase();
                if name == b"table" {
                    tables += 1;
                }
                let void =
                    [&b"br"[..], b"img", b"hr", b"meta", b"link", b"input", b"col", b"area", b"base", b"wbr"];
                if !void.contains(&name.as_slice()) {
                    depth += 1;
                }
                if depth > LAYOUT_DEPTH || tables > LAYOUT_TABLES {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::to_text;

    #[test]
    fn paragraphs_lists_links_and_tables_become_lines() {
        let html = "<html><head><title>t</title><style>p{}</style></head><body><h1>Title</h1><p>Caf&eacute; &amp; bar</p>\
            <ul><li>one</li><li>two</li></ul><p><a href='https://example.com/x'>a link</a></p>\
            <table><tr><td>a</td><td>b</td></tr></table><script>alert(1)</script></body></html>";
        let text = to_text(html, 10_000);
        for part in ["Title", "Café & bar", "* one\n* two", "a link <https://example.com/x>"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("alert") && !text.contains("p{}") && !text.contains("<p>"), "{text}");
    }

    #[test]
    fn what_is_too_deep_for_a_layout_still_gives_its_text() {
        let html = format!("{}deep{}", "<div>".repeat(50_000), "</div>".repeat(50_000));
        assert_eq!(to_text(&html, usize::MAX).trim(), "deep");
    }
}
