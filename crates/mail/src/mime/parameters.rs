//! Parameters that stand twice: in the extended form of RFC 2231 and plainly, for programs that do not know that form. The
//! extended one counts (as RFC 6266 section 4.3 says for file names), unless its own encoding is broken.

use mail_parser::ContentType;

/// What is appended to the name of a parameter in the extended form, so that the foreign parser keeps both.
const EXTENDED: &str = "-extended";
/// The same of one whose percent encoding is broken.
const MALFORMED: &str = "-malformed";

/// A parameter, the extended form before the plain one and that before a broken one. One that is empty is none.
pub(crate) fn parameter<'c>(said: &'c ContentType<'_>, name: &str) -> Option<&'c str> {
    [EXTENDED, "", MALFORMED].iter().find_map(|form| {
        let value = said.attribute(&format!("{name}{form}"))?;
        (!value.trim().is_empty()).then_some(value)
    })
}

/// The field with the names of its extended parameters changed: `filename*0*=` becomes `filename-extended*0*=`.
pub(crate) fn told_apart(value: &[u8]) -> Vec<u8> {
    let mut told = Vec::with_capacity(value.len() + 16);
    let (mut quoted, mut comments, mut escaped, mut begins) = (false, 0_usize, false, false);
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        if begins && !byte.is_ascii_whitespace() {
            begins = false;
            if let Some((star, form)) = extended(&value[at..]) {
                told.extend_from_slice(&value[at..at + star]);
                told.extend_from_slice(form.as_bytes());
                at += star;
                continue;
            }
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' if comments == 0 => quoted = !quoted,
            b'(' if !quoted => comments += 1,
            b')' if !quoted => comments = comments.saturating_sub(1),
            b';' if !quoted && comments == 0 => begins = true,
            _ => {}
        }
        told.push(byte);
        at += 1;
    }
    told
}

/// Where the star is in the name of a parameter that begins here, and what to put before it; nothing for a plain one.
fn extended(parameter: &[u8]) -> Option<(usize, &'static str)> {
    let end = parameter.iter().position(|byte| b"=;\"( \t\r\n".contains(byte))?;
    let name = &parameter[..end];
    let star = name.iter().position(|byte| *byte == b'*').filter(|star| *star > 0)?;
    if parameter[end] != b'=' {
        return None;
    }
    let value = parameter[end + 1..].split(|byte| *byte == b';').next().unwrap_or_default();
    let hex = |at: usize| value.get(at).is_some_and(u8::is_ascii_hexdigit);
    let broken = value.iter().enumerate().any(|(at, byte)| *byte == b'%' && !(hex(at + 1) && hex(at + 2)));
    // Pieces of one value stay together, whole or not.
    let whole = star + 1 == name.len();
    Some((star, if whole && broken { MALFORMED } else { EXTENDED }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_parameters_are_told_from_plain_ones_outside_of_quotations() {
        for (given, told) in [
            ("a; filename=x; filename*=utf-8''y", "a; filename=x; filename-extended*=utf-8''y"),
            ("a;n*0*=''x%20; n*1=y", "a;n-extended*0*=''x%20; n-extended*1=y"),
            ("a; n*=utf-8''x%zz", "a; n-malformed*=utf-8''x%zz"),
            ("a; n*0*=''x; n*1*=%zz", "a; n-extended*0*=''x; n-extended*1*=%zz"),
            ("a; n=\"b; c*=d\"", "a; n=\"b; c*=d\""),
            ("a (b; c*=d); n=x", "a (b; c*=d); n=x"),
            ("a; *=x; n *=x; n*", "a; *=x; n *=x; n*"),
        ] {
            assert_eq!(String::from_utf8(told_apart(given.as_bytes())).unwrap(), told);
        }
    }
}
