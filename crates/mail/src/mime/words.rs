//! Small rules for texts from headers: what may stay in them and how broken encoded words are mended.

/// One line fit to be stored and shown: no control characters, no NUL, single spaces where lines were folded, and
/// at most `limit` bytes.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit));
    for character in text.trim().chars() {
        match character {
            '\r' | '\0' => {}
            _ if character.is_control() => line.push(' '),
            _ => line.push(character),
        }
    }
    cut(&mut line, limit);
    line
}

/// Like [`one_line`], without characters that turn the direction of what follows: a name must not be able to
/// disguise what stands beside it (Unicode UAX 9, explicit formatting).
pub(crate) fn name(text: &str, limit: usize) -> String {
    let turned =
        |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let line: String = one_line(text, usize::MAX).chars().filter(|character| !turned(*character)).collect();
    let mut name = line.trim().trim_matches(['"', '\'']).trim().to_owned();
    cut(&mut name, limit);
    name
}

/// Shortens a text to at most `limit` bytes between two characters, and says whether it had to.
pub(crate) fn cut(text: &mut String, limit: usize) -> bool {
    if text.len() <= limit {
        return false;
    }
    text.truncate(text.floor_char_boundary(limit));
    true
}

/// Joins neighbouring encoded words of one charset and encoding into one.
///
/// RFC 2047 section 5 wants every word to hold whole characters; many programs split their bytes anywhere, and only
/// the joined bytes decode. The charsets with shift states stay as they are: every word of theirs begins and ends in
/// ASCII (section 3 there), and two shifts with nothing between them are an error to decoders.
pub(crate) fn join_encoded_words(value: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(value.len() + 1);
    let mut prefix: &[u8] = b"";
    let mut at = 0;
    while at < value.len() {
        let rest = &value[at..];
        if !prefix.is_empty() && rest.starts_with(b"?=") {
            let after = &rest[2..];
            let stateful = prefix.get(2..11).is_some_and(|name| name.eq_ignore_ascii_case(b"iso-2022-"));
            let gap = after.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let next = &after[gap..];
            if gap > 0
                && !stateful
                && next.len() >= prefix.len()
                && next[..prefix.len()].eq_ignore_ascii_case(prefix)
            {
                at += 2 + gap + prefix.len();
                continue;
            }
            joined.extend_from_slice(b"?=");
            at += 2;
            prefix = b"";
            continue;
        }
        if prefix.is_empty() && rest.starts_with(b"=?") {
            prefix = word_prefix(rest).unwrap_or_default();
            if !prefix.is_empty() {
                joined.extend_from_slice(prefix);
                at += prefix.len();
                continue;
            }
        }
        if value[at] == b'\n' && !matches!(value.get(at + 1), Some(b' ' | b'\t')) {
            prefix = b"";
        }
        joined.push(value[at]);
        at += 1;
    }
    joined
}

/// `=?charset?encoding?` at the start of a text. A charset name has at most 45 bytes (RFC 2978 section 2.3 says 40),
/// so that the search for its end is short.
fn word_prefix(text: &[u8]) -> Option<&[u8]> {
    let charset = text.get(2..text.len().min(50))?.iter().position(|byte| *byte == b'?')?;
    let encoding = 2 + charset + 1;
    let known = matches!(text.get(encoding), Some(b'b' | b'B' | b'q' | b'Q'));
    (charset > 0 && known && text.get(encoding + 1) == Some(&b'?')).then(|| &text[..encoding + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_words_become_one_and_everything_else_stays() {
        for (given, joined) in [
            ("=?utf-8?B?4pyT?= =?utf-8?B?4pyT?=", "=?utf-8?B?4pyT4pyT?="),
            ("=?utf-8?Q?=E2=9C?=\r\n =?UTF-8?q?=93?= end", "=?utf-8?Q?=E2=9C=93?= end"),
            ("=?utf-8?Q?a?= =?iso-8859-1?Q?b?=", "=?utf-8?Q?a?= =?iso-8859-1?Q?b?="),
            ("=?utf-8?Q?a?= b =?utf-8?Q?c?=", "=?utf-8?Q?a?= b =?utf-8?Q?c?="),
            (
                "=?iso-2022-jp?B?GyRCJEQkJBsoQg==?= =?ISO-2022-JP?B?GyRCJEYbKEI=?=",
                "=?iso-2022-jp?B?GyRCJEQkJBsoQg==?= =?ISO-2022-JP?B?GyRCJEYbKEI=?=",
            ),
            ("1 =? 2 ?= 3", "1 =? 2 ?= 3"),
            ("=?", "=?"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(join_encoded_words(given.as_bytes())).unwrap(), joined);
        }
    }

    #[test]
    fn a_name_cannot_turn_the_direction_of_what_follows_nor_break_the_line() {
        assert_eq!(name("\"Ada\u{202e}gpj.exe\"", 100), "Adagpj.exe");
        assert_eq!(one_line(" a\r\n\tb\0c ", 100), "a  bc");
        assert_eq!(one_line("äöü", 3), "ä");
    }
}
