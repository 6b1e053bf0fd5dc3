//! A part kept as a file: its decoded bytes and a name that can be shown without harm.

use bytes::Bytes;
use model::message::ParsedAttachment;

use super::content::{Content, Disposition};
use super::decode::{Warnings, transfer};
use super::split::Part;
use super::words;

/// The longest name most file systems take, in bytes.
const NAME_BYTES: usize = 255;

/// Keeps a part as the attachment at `position`; `shown` says that the body may speak of it.
pub(crate) fn keep(
    raw: &[u8],
    part: &Part,
    position: usize,
    shown: bool,
    warnings: &mut Warnings,
) -> ParsedAttachment {
    let content = &part.content;
    let bytes = transfer(&raw[part.body.clone()], content.encoding, warnings);
    let inline = match content.disposition {
        Disposition::Inline => true,
        Disposition::Attachment => false,
        Disposition::Unsaid => shown && content.id.is_some(),
    };
    ParsedAttachment {
        position,
        name: safe_name(content.name.as_deref()).unwrap_or_else(|| default_name(content, position)),
        content_type: content.media_type(),
        content_id: content.id.clone(),
        inline,
        bytes: Bytes::from(bytes.into_owned()),
    }
}

/// The last component of a name, without anything that a path, a shell or a reader could take for something else.
/// Nothing when nothing is left.
pub(crate) fn safe_name(name: Option<&str>) -> Option<String> {
    let line = words::name(name?, usize::MAX);
    let last = line.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last
        .chars()
        .map(
            |character| {
                if matches!(character, ':' | '*' | '?' | '"' | '<' | '>' | '|') { '_' } else { character }
            },
        )
        .filter(|character| {
            !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{ad}')
        })
        .collect();
    let kept = kept.trim_matches(|character: char| character == '.' || character.is_whitespace());
    // `.bashrc` keeps its meaning without the dot; `..` and `.` have none.
    if kept.is_empty() {
        return None;
    }
    Some(shortened(kept))
}

/// Cuts the middle, so that the ending that says what the file is stays.
fn shortened(name: &str) -> String {
    if name.len() <= NAME_BYTES {
        return name.to_owned();
    }
    let ending =
        name.rfind('.').map(|dot| &name[dot..]).filter(|ending| ending.len() <= 16).unwrap_or_default();
    let mut short = name.to_owned();
    words::cut(&mut short, NAME_BYTES - ending.len());
    short + ending
}

fn default_name(content: &Content, position: usize) -> String {
    let number = position + 1;
    let fixed = match (content.main.as_str(), content.sub.as_str()) {
        ("application", "pkcs7-mime" | "x-pkcs7-mime") => Some("smime.p7m"),
        ("application", "pkcs7-signature" | "x-pkcs7-signature") => Some("smime.p7s"),
        ("application", "pgp-signature") => Some("signature.asc"),
        ("application", "ms-tnef" | "vnd.ms-tnef") => Some("winmail.dat"),
        ("message", "delivery-status") => Some("delivery-status.txt"),
        ("text", "rfc822-headers") => Some("headers.txt"),
        _ => None,
    };
    if let Some(name) = fixed {
        return name.to_owned();
    }
    let (stem, ending) = match (content.main.as_str(), content.sub.as_str()) {
        ("message", "rfc822" | "global") => ("message", "eml"),
        ("multipart", _) => ("parts", "eml"),
        ("text", "html") => ("text", "html"),
        ("text", "calendar") => ("calendar", "ics"),
        ("text", "vcard" | "x-vcard" | "directory") => ("contact", "vcf"),
        ("text", "csv") => ("table", "csv"),
        ("text", _) => ("text", "txt"),
        ("image", "jpeg" | "jpg" | "pjpeg") => ("image", "jpg"),
        ("image", "svg+xml") => ("image", "svg"),
        ("image", sub @ ("png" | "gif" | "webp" | "bmp" | "tiff" | "heic")) => ("image", sub),
        ("application", "pdf") => ("document", "pdf"),
        ("application", "zip" | "x-zip-compressed") => ("archive", "zip"),
        ("application", "pgp-encrypted") => ("encrypted", "asc"),
        _ => ("attachment", "bin"),
    };
    format!("{stem}-{number}.{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_path_control_or_direction() {
        for (given, shown) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Windows\\system32\\cmd.exe", "cmd.exe"),
            ("a\r\nb\0.txt", "a b.txt"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("  .hidden. ", "hidden"),
            ("what?.txt:stream", "what_.txt_stream"),
            ("Übersicht 年.xlsx", "Übersicht 年.xlsx"),
        ] {
            assert_eq!(safe_name(Some(given)).as_deref(), Some(shown));
        }
        for nothing in ["", "..", "/", "\u{202e}", "...", "a/"] {
            assert_eq!(safe_name(Some(nothing)), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_ending() {
        let name = safe_name(Some(&format!("{}.pdf", "ä".repeat(500)))).unwrap();
        assert!(name.len() <= NAME_BYTES);
        assert_eq!(name.rsplit_once('.').unwrap().1, "pdf");
    }
}
