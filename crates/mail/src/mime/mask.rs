//! What the foreign parser takes apart although it belongs together in an address: a quoted local part and an address
//! literal. Their marks are hidden before it reads a header and shown again after. Never touches a display name.

use std::borrow::Cow;

/// The characters that mean something outside of a quotation, and a space, for which a tab counts too.
const MARKS: &[char] = &['"', ' ', '@', ',', ':', ';', '<', '>', '(', ')', '[', ']', '\\', '='];
/// The first of as many characters for private use (Unicode section 23.5), one for each mark.
const FIRST: u32 = 0xf0f0;
/// The longest address literal: an IPv6 address with its tag and its brackets.
const LITERAL_BYTES: usize = 64;

/// Hides the marks in quoted local parts (`"ada lovelace"@…`) and address literals (`…@[IPv6:2001:db8::1]`). A header that
/// has the hidden form already stays as it is.
pub(crate) fn hide(value: &str) -> Cow<'_, str> {
    if !(value.contains("\"@") || value.contains("@[")) || value.chars().any(|c| shown(c).is_some()) {
        return Cow::Borrowed(value);
    }
    let mut masked = String::with_capacity(value.len() + 16);
    let mut comments = 0_usize;
    let mut at = 0;
    while let Some(character) = value[at..].chars().next() {
        let rest = &value[at..];
        let whole = match character {
            '\\' => rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end),
            '"' if comments == 0 => quoted(rest),
            '@' if comments == 0 => 1 + literal(&rest[1..]),
            _ => character.len_utf8(),
        };
        match character {
            '(' => comments += 1,
            ')' => comments = comments.saturating_sub(1),
            _ => {}
        }
        let local = character == '"' && whole > 2 && rest[whole..].starts_with('@');
        let literal = character == '@' && whole > 1;
        let (plain, hidden) = match (local && !rest[..whole].contains('\n'), literal) {
            (true, _) => (0, whole),
            (_, true) => (1, whole),
            _ => (whole, whole),
        };
        masked.push_str(&rest[..plain]);
        masked.extend(rest[plain..hidden].chars().map(mask));
        at += whole;
    }
    Cow::Owned(masked)
}

/// Shows again what was hidden.
pub(crate) fn show(text: &str) -> String {
    text.chars().map(|character| shown(character).unwrap_or(character)).collect()
}

fn mask(character: char) -> char {
    let character = if character == '\t' { ' ' } else { character };
    let hidden = MARKS.iter().position(|mark| *mark == character);
    hidden.and_then(|index| char::from_u32(FIRST + u32::try_from(index).ok()?)).unwrap_or(character)
}

fn shown(character: char) -> Option<char> {
    MARKS.get(usize::try_from(u32::from(character).checked_sub(FIRST)?).ok()?).copied()
}

/// How long the quotation is that a text begins with; all of the text when it has no end.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '"' if !escaped => return at + 1,
            _ => escaped = character == '\\' && !escaped,
        }
    }
    text.len()
}

/// How long the address literal is that a text begins with, 0 when it begins with none (RFC 5321 section 4.1.3).
fn literal(text: &str) -> usize {
    let within = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'-');
    if !text.starts_with('[') {
        return 0;
    }
    let inner = text.bytes().skip(1).take(LITERAL_BYTES).take_while(within).count();
    if text.as_bytes().get(1 + inner) == Some(&b']') { inner + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quoted_local_parts_and_literals_are_hidden_and_all_is_shown_again() {
        for (given, hides) in [
            ("\"ada lovelace\"@example.com", true),
            ("Ada <\"a, b\"@example.com>", true),
            ("\"a\\\"b\"@example.com", true),
            ("a@[IPv6:2001:db8::1], b@[192.0.2.1]", true),
            ("\"Lovelace, Ada\" <ada@example.com>", false),
            ("\"\"@example.com", false),
            ("(\"a b\"@example.com)", false),
            ("\"never closed@example.com", false),
            ("a@[IPv6:2001:db8::1", false),
            ("a@[not one]", false),
        ] {
            let masked = hide(given);
            assert_eq!(masked != given, hides, "{given}");
            assert_eq!(show(&masked), given);
        }
        let hostile = "\u{f0f0}\"a b\"@example.com";
        assert_eq!(hide(hostile), hostile, "what looks hidden already is left alone");
    }
}
