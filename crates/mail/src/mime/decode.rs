//! Bytes from their transfer encoding and texts from their charset; wrong input gives what can be had, and a warning.

use std::borrow::Cow;
use std::collections::BTreeSet;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use model::message::ParseWarning;

/// What was odd, each kind once and in a fixed order.
pub(crate) type Warnings = BTreeSet<ParseWarning>;

/// Content-Transfer-Encoding (RFC 2045 section 6.1), as far as it changes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// 7bit, 8bit, binary, absent, and names nobody knows.
    #[default]
    Identity,
    Base64,
    QuotedPrintable,
}

/// The content as it was before it was encoded.
pub(crate) fn transfer<'x>(bytes: &'x [u8], encoding: Encoding, warnings: &mut Warnings) -> Cow<'x, [u8]> {
    match encoding {
        Encoding::Identity => Cow::Borrowed(bytes),
        Encoding::QuotedPrintable => Cow::Owned(quoted_printable(bytes, warnings)),
        Encoding::Base64 => Cow::Owned(base64(bytes, warnings)),
    }
}

/// RFC 2045 section 6.8 says to ignore what is not of the alphabet. What comes after the data, behind an empty line or
/// the padding, and is not of it either is a footer that a list put there, and ends it.
fn base64(bytes: &[u8], warnings: &mut Warnings) -> Vec<u8> {
    if let Some(decoded) = base64_decode(bytes) {
        return decoded;
    }
    warnings.insert(ParseWarning::BrokenEncoding);
    let of_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let mut kept = Vec::with_capacity(bytes.len());
    let mut may_end = false;
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if may_end && !line.iter().all(of_alphabet) {
            break;
        }
        kept.extend(line.iter().copied().filter(of_alphabet));
        may_end = !kept.is_empty() && (line.is_empty() || line.ends_with(b"="));
    }
    base64_decode(&kept).unwrap_or_else(|| bytes.to_vec())
}

/// RFC 2045 section 6.7; a `=` that starts nothing known stays as it is.
fn quoted_printable(bytes: &[u8], warnings: &mut Warnings) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let ended = line.ends_with(b"\n");
        let text = line.trim_ascii_end();
        let (text, soft) = match text.strip_suffix(b"=") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let mut at = 0;
        while at < text.len() {
            let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
            match (text[at], hex(text.get(at + 1)), hex(text.get(at + 2))) {
                (b'=', Some(high), Some(low)) => {
                    decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    at += 3;
                }
                (byte, ..) => {
                    if byte == b'=' {
                        warnings.insert(ParseWarning::BrokenEncoding);
                    }
                    decoded.push(byte);
                    at += 1;
                }
            }
        }
        if ended && !soft {
            decoded.extend_from_slice(if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" });
        }
    }
    decoded
}

/// A text in the charset its part names.
pub(crate) fn charset(bytes: &[u8], label: Option<&str>, warnings: &mut Warnings) -> String {
    let label = label.map(str::trim).unwrap_or_default().to_ascii_lowercase();
    let text = match label.as_str() {
        // A message that says ASCII and is not is one that says nothing.
        "" | "us-ascii" | "ascii" | "ansi_x3.4-1968" | "unknown-8bit" | "x-unknown" | "8bit" | "binary" => {
            guessed(bytes)
        }
        "utf-8" | "utf8" | "utf_8" | "x-utf8" | "cp65001" | "unicode-1-1-utf-8" => {
            let text =
                std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
            // Not one character beyond ASCII is UTF-8: it only says so.
            let none = |text: &str| text.chars().all(|c| c.is_ascii() || c == '\u{fffd}');
            if text.contains('\u{fffd}') && none(&text) { guessed(bytes) } else { text.into_owned() }
        }
        // What decodes as UTF-8 beyond ASCII is that: no words in these charsets look so by chance.
        "iso-8859-1" | "latin1" | "windows-1252" | "cp1252" | "iso8859-1" => guessed(bytes),
        "iso-2022-kr" | "csiso2022kr" => iso_2022_kr(bytes),
        _ => {
            if let Some(decode) = charset_decoder(common_name(&label).as_bytes()) {
                decode(bytes)
            } else {
                warnings.insert(ParseWarning::CharsetUnknown);
                guessed(bytes)
            }
        }
    };
    match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    }
}

/// Names of code pages that programs write, for charsets that are known by others.
fn common_name(label: &str) -> &str {
    match label {
        "cp932" | "ms932" | "windows-932" | "cswindows31j" => "shift_jis",
        "cp949" | "ms949" | "windows-949" | "uhc" => "euc-kr",
        "cp950" | "windows-950" => "big5",
        "windows-936" | "ms936" => "gbk",
        _ if label.starts_with("iso-2022-jp") => "iso-2022-jp",
        _ => label,
    }
}

/// RFC 1557: Korean between SO and SI, seven bits of what EUC-KR says in eight. No decoder at hand knows it.
fn iso_2022_kr(bytes: &[u8]) -> String {
    let mut euc = Vec::with_capacity(bytes.len());
    let mut shifted = false;
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            0x0e => shifted = true,
            0x0f => shifted = false,
            0x1b if after.starts_with(b"$)C") => rest = &after[3..],
            b'\r' | b'\n' => {
                shifted = false;
                euc.push(*byte);
            }
            0x21..=0x7e if shifted => euc.push(byte | 0x80),
            _ => euc.push(*byte),
        }
    }
    match charset_decoder(b"euc-kr") {
        Some(decode) => decode(&euc),
        None => guessed(bytes),
    }
}

/// UTF-8 if it is that, else Windows-1252, which any bytes are.
pub(crate) fn guessed(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => match charset_decoder(b"windows-1252") {
            Some(decode) => decode(bytes),
            None => String::from_utf8_lossy(bytes).into_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], encoding: Encoding) -> (String, Warnings) {
        let mut warnings = Warnings::new();
        let text = String::from_utf8_lossy(&transfer(bytes, encoding, &mut warnings)).into_owned();
        (text, warnings)
    }

    #[test]
    fn quoted_printable_is_decoded_line_by_line() {
        for (given, text) in [
            (&b"caf=C3=A9 =\r\nau lait\r\n"[..], "café au lait\r\n"),
            (b"a =3D b  \r\nc", "a = b\r\nc"),
            (b"one\ntwo=\n", "one\ntwo"),
            (b"=c3=a9", "é"),
        ] {
            assert_eq!(decoded(given, Encoding::QuotedPrintable), (text.to_owned(), Warnings::new()));
        }
    }

    #[test]
    fn what_breaks_its_encoding_is_kept_as_far_as_it_goes_and_says_so() {
        let broken = Warnings::from([ParseWarning::BrokenEncoding]);
        assert_eq!(
            decoded(b"50=% off =zz", Encoding::QuotedPrintable),
            ("50=% off =zz".into(), broken.clone())
        );
        assert_eq!(decoded(b"aGVs\r\n*bG8=", Encoding::Base64), ("hello".into(), broken));
        assert_eq!(decoded(b"aGVs\r\nbG8", Encoding::Base64).0, "hello");
    }

    #[test]
    fn charsets_are_known_by_many_names_and_guessed_without_one() {
        for (bytes, label, text) in [
            (&b"caf\xe9"[..], Some("ISO-8859-1"), "café"),
            (b"caf\xe9", None, "café"),
            (b"caf\xc3\xa9", None, "café"),
            (b"caf\xc3\xa9", Some("us-ascii"), "café"),
            (b"\xef\xbb\xbfbom", Some("utf8"), "bom"),
            (b"\x1b$B%O%m!<\x1b(B", Some("iso-2022-jp"), "ハロー"),
            (b"\xc4\xe3\xba\xc3", Some("GB18030"), "你好"),
            (b"\xc4\xe3\xba\xc3", Some("gb2312"), "你好"),
            (b"\x83n\x83\x8d\x81[", Some("cp932"), "ハロー"),
            (b"\xcf\xf0\xe8", Some("windows-1251"), "При"),
            (b"\xf0\xd2\xc9", Some("koi8-r"), "При"),
            (b"\x1b$)C\x0e>H3g\x0f!", Some("iso-2022-kr"), "안녕!"),
            (b"caf\xc3\xa9", Some("iso-8859-1"), "café"),
            (b"caf\xe9", Some("utf-8"), "café"),
            (b"caf\xc3\xa9 \xe9", Some("utf-8"), "café \u{fffd}"),
        ] {
            let mut warnings = Warnings::new();
            assert_eq!(charset(bytes, label, &mut warnings), text, "{label:?}");
            assert!(warnings.is_empty(), "{label:?}");
        }
        let mut warnings = Warnings::new();
        assert_eq!(charset(b"caf\xe9", Some("klingon"), &mut warnings), "café");
        assert_eq!(warnings, Warnings::from([ParseWarning::CharsetUnknown]));
    }
}
